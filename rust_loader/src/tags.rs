//! Words that a file carries about itself.

use symphonia::core::meta::{RawValue, StandardTag, Tag};

use crate::stream::Stream;

/// Longer values (lyrics, cue sheets) are no caption and are left out.
const MAX_VALUE_BYTES: usize = 4096;

/// (name, value) pairs with lower-case names, in order of appearance; values of one name are joined by "; ".
pub fn read_tags(stream: &mut Stream<'_>) -> Vec<(String, String)> {
    let track_id = u64::from(stream.track.id);
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut metadata = stream.reader.metadata();
    loop {
        if let Some(revision) = metadata.current() {
            let per_track = revision.per_track.iter().filter(|t| t.track_id == track_id);
            for tag in revision.media.tags.iter().chain(per_track.flat_map(|t| &t.metadata.tags)) {
                add(&mut tags, tag);
            }
        }
        if metadata.pop().is_none() {
            return tags;
        }
    }
}

fn add(tags: &mut Vec<(String, String)>, tag: &Tag) {
    let name = tag.std.as_ref().and_then(standard_name).map_or_else(|| tag.raw.key.to_lowercase(), str::to_owned);
    let value = match &tag.raw.value {
        RawValue::String(text) => text.trim().to_owned(),
        RawValue::StringList(list) => list.join("; "),
        RawValue::UnsignedInt(n) => n.to_string(),
        RawValue::SignedInt(n) => n.to_string(),
        RawValue::Float(x) => x.to_string(),
        _ => return,
    };
    if value.is_empty() || value.len() > MAX_VALUE_BYTES || name.is_empty() {
        return;
    }
    match tags.iter_mut().find(|(known, _)| *known == name) {
        None => tags.push((name, value)),
        Some((_, known)) if known.split("; ").any(|part| part == value) => {}
        Some((_, known)) if known.len() + value.len() <= MAX_VALUE_BYTES => {
            known.push_str("; ");
            known.push_str(&value);
        }
        Some(_) => {}
    }
}

fn standard_name(tag: &StandardTag) -> Option<&'static str> {
    Some(match tag {
        StandardTag::TrackTitle(_) => "title",
        StandardTag::Artist(_) => "artist",
        StandardTag::Album(_) => "album",
        StandardTag::AlbumArtist(_) => "albumartist",
        StandardTag::Genre(_) => "genre",
        StandardTag::Comment(_) => "comment",
        StandardTag::Description(_) => "description",
        StandardTag::Bpm(_) => "bpm",
        StandardTag::InitialKey(_) => "key",
        StandardTag::Mood(_) => "mood",
        StandardTag::Keywords(_) => "keywords",
        StandardTag::License(_) => "license",
        StandardTag::Copyright(_) => "copyright",
        StandardTag::Composer(_) => "composer",
        StandardTag::TrackNumber(_) => "tracknumber",
        StandardTag::RecordingDate(_) | StandardTag::ReleaseDate(_) => "date",
        StandardTag::Encoder(_) => "encoder",
        _ => return None,
    })
}
