//! Headers of .npy files (NEP 1), as far as token shards use them: little-endian uint16, C order, two axes.

/// Where the data is and what shape it has.
#[derive(Debug)]
pub struct Array {
    pub shape: [u32; 2],
    /// Of the first data byte.
    pub offset: usize,
}

/// Reads the header of a whole .npy file; the data must fill the rest exactly. The message says what is wrong.
pub fn parse_u16(bytes: &[u8]) -> Result<Array, String> {
    if bytes.len() < 12 || &bytes[..6] != b"\x93NUMPY" {
        return Err("not a .npy array".to_owned());
    }
    let (length, begin) = match bytes[6] {
        1 => (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10),
        2 | 3 => (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12),
        version => return Err(format!(".npy version {version} is not known")),
    };
    let offset = begin + length;
    let header = bytes.get(begin..offset).and_then(|h| std::str::from_utf8(h).ok());
    let header = header.ok_or("the .npy header is cut off")?;
    let descr = value(header, "'descr':").ok_or("the .npy header has no descr")?;
    if !(descr.starts_with("'<u2'")) {
        let found = descr.split(',').next().unwrap_or(descr);
        return Err(format!("dtype is {found}, expected '<u2' (little-endian uint16)"));
    }
    if !value(header, "'fortran_order':").is_some_and(|v| v.starts_with("False")) {
        return Err("the array is not in C order".to_owned());
    }
    let shape = value(header, "'shape':").and_then(shape).ok_or("the shape is not [codebooks, frames]")?;
    let expected = u128::from(shape[0]) * u128::from(shape[1]) * 2;
    if (bytes.len() - offset) as u128 != expected {
        let message = format!("{} bytes of data, expected {expected} for shape {shape:?}", bytes.len() - offset);
        return Err(message);
    }
    Ok(Array { shape, offset })
}

fn value<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split_once(name).map(|(_, rest)| rest.trim_start())
}

fn shape(text: &str) -> Option<[u32; 2]> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let mut numbers = inside.split(',').map(|n| n.trim().parse::<u32>());
    let shape = [numbers.next()?.ok()?, numbers.next()?.ok()?];
    (numbers.next().is_none() && shape[0] > 0).then_some(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn good_and_bad_headers() {
        let good = "{'descr': '<u2', 'fortran_order': False, 'shape': (4, 3), }\n";
        let array = parse_u16(&file(good, 24)).unwrap();
        assert_eq!((array.shape, array.offset), ([4, 3], 10 + good.len()));
        for (header, data, message) in [
            (good.to_owned(), 23, "23 bytes of data, expected 24"),
            (good.replace("<u2", "<i8"), 24, "dtype is '<i8'"),
            (good.replace("False", "True"), 24, "C order"),
            (good.replace("(4, 3)", "(4,)"), 24, "shape"),
            (good.replace("(4, 3)", "(4, 3, 1)"), 24, "shape"),
            (good.replace("(4, 3)", "(4, -3)"), 24, "shape"),
            (good.replace("(4, 3)", "(4294967295, 4294967295)"), 24, "expected"),
        ] {
            let error = parse_u16(&file(&header, data)).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(parse_u16(b"").is_err());
        assert!(parse_u16(&file(good, 24)[..30]).unwrap_err().contains("cut off"));
    }
}
