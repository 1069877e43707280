"""The public face of the Rust and C++ extension: audio in, numbers out. Nothing else imports the extension.

Arrays are numpy. Shape suffixes: C channels, N samples, M samples at another rate, B batch, K codebooks, T frames,
S pattern steps. Every function that takes time releases the GIL; those that may take seconds also answer Ctrl-C. Errors
name the file they are about, and the time or byte where that is known: FileNotFoundError and other OSErrors from the
system, `AudioError` with its three subclasses (corrupt, unsupported, limit) for what is in an audio file, `ShardError`
for token shards, MemoryError when the system refuses memory, ValueError for arguments, RuntimeError for a bug in the
extension. All is safe after a fork. docs/robustness.md has the limits.
"""

from musicgen_core._rust_loader import AudioError as AudioError
from musicgen_core._rust_loader import CorruptAudioError as CorruptAudioError
from musicgen_core._rust_loader import LimitError as LimitError
from musicgen_core._rust_loader import ShardError as ShardError
from musicgen_core._rust_loader import UnsupportedAudioError as UnsupportedAudioError
from musicgen_core.native.audio import AudioInfo as AudioInfo
from musicgen_core.native.audio import AudioMeasure as AudioMeasure
from musicgen_core.native.audio import decode as decode
from musicgen_core.native.audio import decode_segment as decode_segment
from musicgen_core.native.audio import measure as measure
from musicgen_core.native.audio import mix as mix
from musicgen_core.native.audio import probe as probe
from musicgen_core.native.audio import sound_bounds as sound_bounds
from musicgen_core.native.batches import Segments as Segments
from musicgen_core.native.batches import TokenSampler as TokenSampler
from musicgen_core.native.batches import TrackList as TrackList
from musicgen_core.native.batches import write_track_list as write_track_list
from musicgen_core.native.digest import hash_bytes as hash_bytes
from musicgen_core.native.digest import hash_file as hash_file
from musicgen_core.native.digest import hash_files as hash_files
from musicgen_core.native.folders import FolderList as FolderList
from musicgen_core.native.folders import FoundFile as FoundFile
from musicgen_core.native.pattern import deinterleave as deinterleave
from musicgen_core.native.pattern import interleave as interleave
from musicgen_core.native.resampling import kernel_targets as kernel_targets
from musicgen_core.native.resampling import read_segment as read_segment
from musicgen_core.native.resampling import resample as resample
from musicgen_core.native.resampling import use_kernel_target as use_kernel_target
from musicgen_core.native.sampling import philox_raw as philox_raw
from musicgen_core.native.sampling import uniform as uniform
from musicgen_core.native.shards import TokenShards as TokenShards
from musicgen_core.native.shards import write_token_index as write_token_index
from musicgen_core.native.types import PathLike as PathLike
from musicgen_core.native.types import Token as Token
from musicgen_core.native.types import Wav as Wav
