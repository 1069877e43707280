//! What the fuzz targets share.

/// The extension catches a decoder's panic and makes an error of it, but libfuzzer's hook ends the process before that.
/// This one lets the panics of dependencies pass, and ends the process for our own.
pub fn let_decoders_panic() {
    let ending = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|place| place.file().contains("/registry/src/")) {
            ending(info);
        }
    }));
}
