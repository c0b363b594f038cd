use image::{Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

fn picture(width: u32, height: u32) -> DynamicImage {
    let shade = |value: u32| u8::try_from(value % 256).unwrap();
    DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, |x, y| Rgba([shade(x * 7), shade(y * 5), shade(x + y), 255])))
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = if format == ImageFormat::Jpeg { DynamicImage::ImageRgb8(image.to_rgb8()) } else { image.clone() };
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

const FORMATS: [ImageFormat; 4] = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP];

#[test]
fn each_kind_comes_back_as_an_image_of_the_same_size() {
    for format in FORMATS {
        let View { width, height, original_width, original_height, encoding, base64 } = view(&encoded(&picture(40, 30), format)).unwrap();
        assert_eq!((width, height, original_width, original_height), (40, 30, 40, 30), "{format:?}");
        let bytes = STANDARD.decode(base64).unwrap();
        let expected = if format == ImageFormat::Jpeg { (Encoding::Jpeg, ImageFormat::Jpeg) } else { (Encoding::Png, ImageFormat::Png) };
        assert_eq!((encoding, image::guess_format(&bytes).unwrap()), expected);
        let again = image::load_from_memory(&bytes).unwrap();
        assert_eq!((again.width(), again.height()), (40, 30));
        if format == ImageFormat::Png {
            assert_eq!(again.to_rgba8(), picture(40, 30).to_rgba8());
        }
    }
}

#[test]
fn a_size_is_kept_or_scaled_within_both_sides_and_in_shape() {
    for (from, to) in [
        ((640, 480), (640, 480)),
        ((2048, 768), (2048, 768)),
        ((768, 2048), (768, 2048)),
        ((4000, 3000), (1024, 768)),
        ((3000, 4000), (768, 1024)),
        ((1000, 1000), (768, 768)),
        ((4096, 100), (2048, 50)),
        ((32_768, 1), (2048, 1)),
    ] {
        assert_eq!(shown_size(from.0, from.1), to, "{from:?}");
    }
}

#[test]
fn what_is_too_long_as_png_becomes_jpeg_that_fits() {
    // Noise, which nothing can compress.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()
    };
    let image = DynamicImage::ImageRgba8(RgbaImage::from_fn(2048, 768, |_, _| Rgba(noise())));
    let (encoding, bytes) = encode(&image, ImageFormat::Png).unwrap();
    assert!(encoding == Encoding::Jpeg && bytes.len() <= ENCODED_BYTES, "{}", bytes.len());
}

#[test]
fn nothing_transparent_is_black_in_a_jpeg() {
    let image = DynamicImage::ImageRgba8(RgbaImage::from_pixel(2, 2, Rgba([0, 0, 0, 0])));
    assert!(on_white(&image).pixels().all(|pixel| pixel.0 == [255, 255, 255]));
}

/// A JPEG with an EXIF segment that says how it is to be turned, and something more.
fn with_exif(jpeg: &[u8], orientation: u8, secret: &str) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.push(orientation);
    exif.extend_from_slice(b"\0\0\0\0\0\0");
    exif.extend_from_slice(secret.as_bytes());
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn a_photograph_is_turned_as_its_metadata_says_and_the_metadata_is_gone() {
    let secret = "50.1109N 8.6821E by Ada";
    let file = with_exif(&encoded(&picture(40, 30), ImageFormat::Jpeg), 6, secret);
    let seen = view(&file).unwrap();
    assert_eq!((seen.width, seen.height, seen.original_width, seen.original_height), (30, 40, 30, 40));
    let bytes = STANDARD.decode(seen.base64).unwrap();
    assert!(!bytes.windows(4).any(|part| part == b"Exif" || part == b"50.1"));
    assert!(file.windows(secret.len()).any(|part| part == secret.as_bytes()));
}

#[test]
fn what_is_cut_off_is_refused_wherever_it_was_cut() {
    for format in FORMATS {
        let file = encoded(&picture(40, 30), format);
        // The last bytes can be a trailer that no decoder needs.
        for length in (0..file.len() - 16).step_by(7) {
            let Problem { kind, text } = view(&file[..length]).unwrap_err();
            assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::WrongKind), "{format:?} {length}: {text}");
        }
    }
}

#[test]
fn a_file_that_claims_a_vast_image_is_refused_before_it_is_decoded() {
    let mut png = encoded(&picture(4, 4), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let checksum = crc(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&checksum);
    let Problem { kind, text } = view(&png).unwrap_err();
    assert!(kind == ErrorKind::TooLarge && text.contains("60000×60000"), "{text}");
    let mut gif = encoded(&picture(4, 4), ImageFormat::Gif);
    gif[6..10].fill(0xff);
    assert_eq!(view(&gif).unwrap_err().kind, ErrorKind::TooLarge);
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), format in 0..FORMATS.len()) {
        let _ = view(&bytes);
        // The same behind the first bytes of a real file.
        let file = encoded(&picture(3, 3), FORMATS[format]);
        let _ = view(&[&file[..file.len().min(40)], &bytes].concat());
    }

    #[test]
    fn any_damage_is_decoded_or_refused(
        format in 0..FORMATS.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = encoded(&picture(17, 9), FORMATS[format]);
        for (place, byte) in damage {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Ok(seen) = view(&file) {
            prop_assert!(STANDARD.decode(&seen.base64).unwrap().len() <= ENCODED_BYTES);
            prop_assert!(seen.width.max(seen.height) <= SHOWN_SIDES.0 && seen.width.min(seen.height) <= SHOWN_SIDES.1);
        }
        let _ = view(&file[..cut.index(file.len())]);
    }
}
