//! Opaque pixels as a PNG file (ISO/IEC 15948): 8 bits of red, green and blue, compressed quickly. Flat areas are small at any level.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// 8 bits a sample, three samples a pixel; deflate, filters by line, not interlaced.
const FORM: [u8; 5] = [8, 2, 0, 0, 0];

/// Each line is stored as its difference from the one above it, which is nothing nearly everywhere in a picture of boxes.
const UP: u8 = 2;

/// Level 3: half the size of level 1 at the same speed, and level 6 takes twice as long for a tenth.
const LEVEL: u32 = 3;

/// The file for `width` × `height` pixels of red, green, blue and an alpha that is not written.
pub(super) fn encode(width: u32, height: u32, rgba: &[u8]) -> io::Result<Vec<u8>> {
    let line_bytes = width as usize * 3;
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
    let mut above = vec![0u8; line_bytes];
    let mut filtered = Vec::with_capacity(line_bytes + 1);
    for line in rgba.chunks_exact(width as usize * 4) {
        filtered.clear();
        filtered.push(UP);
        let samples = line.iter().enumerate().filter(|(i, _)| i % 4 < 3).map(|(_, sample)| *sample);
        for (sample, above) in samples.zip(&mut above) {
            filtered.push(sample.wrapping_sub(*above));
            *above = sample;
        }
        packed.write_all(&filtered)?;
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend(FORM);
    let mut file = SIGNATURE.to_vec();
    for (name, content) in [(b"IHDR", header), (b"IDAT", packed.finish()?), (b"IEND", Vec::new())] {
        chunk(&mut file, *name, &content);
    }
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    file.extend((content.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(name);
    file.extend(content);
    let sum = crc32fast::hash(file.get(start..).unwrap_or_default());
    file.extend(sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    #[test]
    fn the_smallest_picture_is_the_one_that_the_standard_describes() {
        let file = encode(2, 2, &[1, 2, 3, 255, 4, 5, 6, 255, 1, 2, 3, 255, 7, 7, 7, 255]).unwrap();
        assert_eq!(file[..8], *SIGNATURE);
        assert_eq!(file[8..29], *b"\0\0\0\x0dIHDR\0\0\0\x02\0\0\0\x02\x08\x02\0\0\0");
        let packed_bytes = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        assert_eq!(file[37..41], *b"IDAT");
        let mut lines = Vec::new();
        ZlibDecoder::new(&file[41..41 + packed_bytes]).read_to_end(&mut lines).unwrap();
        assert_eq!(lines, [2, 1, 2, 3, 4, 5, 6, 2, 0, 0, 0, 3, 2, 1]);
        // The end is the same in every file.
        assert_eq!(file[file.len() - 12..], *b"\0\0\0\0IEND\xae\x42\x60\x82");
    }
}
