//! `view_image`: an image for the model to look at.
//!
//! Decoders of images are where hostile files have broken programs most often, so they run here and nowhere else. What goes on is the pixels alone,
//! encoded anew: no metadata (where and when a photograph was taken, and with what) and no byte that somebody else wrote.

use std::io::{Cursor, Read};
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    imageops::FilterType,
    metadata::Orientation,
};

use super::error::WorkerError;
use super::path;
use super::request::{Access, Encoding, ErrorKind, View};
use super::text::{quote, visible};

/// The largest file that is read.
const FILE_BYTES: u64 = 20 * 1024 * 1024;
/// The most pixels that are decoded; a file of a few bytes can claim any number.
const PIXELS: u64 = 64 * 1024 * 1024;
/// The longest side that is decoded. With the pixels it bounds what scaling needs in memory.
const SIDE: u32 = 32_768;
/// The most memory that a decoder may take for one buffer: all pixels at the largest depth.
const DECODER_BYTES: u64 = PIXELS * 8;
/// The longer and the shorter side of what a vision model looks at; more is scaled down there, after it was paid for here.
const SHOWN_SIDES: (u32, u32) = (2048, 768);
/// The most bytes of an encoded image. In base64 it fits the reply with room to spare.
const ENCODED_BYTES: usize = 4 * 1024 * 1024;
/// Qualities of JPEG, the best first; the first that fits is taken.
const QUALITIES: [u8; 4] = [90, 75, 50, 25];

/// Decodes the image and encodes it anew.
///
/// # Errors
/// What cannot be opened, is no regular file, is too large in bytes or pixels, or is no whole image of a known kind.
pub(crate) fn view_image(cwd: &Path, shown: &str) -> Result<View, WorkerError> {
    let (file, metadata) = path::open_regular(&path::resolve(cwd, shown)?, shown, true)?;
    let too_large = |size| {
        let hint = "make a smaller copy of it";
        WorkerError::TooLarge { path: shown.to_owned(), size, cap: FILE_BYTES, hint, access: Access::Read }
    };
    if metadata.len() > FILE_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|source| WorkerError::reading(shown, "read it", source))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    view(&bytes).map_err(|Problem { kind, text }| WorkerError::Image { path: shown.to_owned(), problem: text, kind })
}

/// Why bytes are not shown.
#[derive(Debug)]
struct Problem {
    kind: ErrorKind,
    text: String,
}

impl Problem {
    fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// A decoder's words can hold bytes of the file.
    fn of(error: &ImageError) -> Self {
        let words = visible(&quote(&error.to_string(), 200)).into_owned();
        match error {
            ImageError::Limits(_) => Self::new(ErrorKind::TooLarge, format!("decoding it would take too much memory: {words}")),
            _ => Self::new(ErrorKind::Invalid, format!("it cannot be decoded: {words}")),
        }
    }
}

fn view(bytes: &[u8]) -> Result<View, Problem> {
    // By content: a name proves nothing.
    let format = image::guess_format(bytes).ok();
    let Some(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP)) = format else {
        return Err(Problem::new(ErrorKind::WrongKind, "this is no PNG, JPEG, GIF or WebP image; only those are shown"));
    };
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        return Err(Problem::new(ErrorKind::Invalid, "it cannot be decoded: the file is cut off before the end of the image"));
    }
    let (image, original_width, original_height) = decode(bytes, format)?;
    let (width, height) = (image.width(), image.height());
    let (encoding, encoded) = encode(&image, format)?;
    Ok(View { width, height, original_width, original_height, encoding, base64: STANDARD.encode(encoded) })
}

/// The image upright and no larger than it is shown, with its size in the file.
fn decode(bytes: &[u8], format: ImageFormat) -> Result<(DynamicImage, u32, u32), Problem> {
    let failed = |error: ImageError| Problem::of(&error);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODER_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    // Before any pixel is decoded.
    if u64::from(width) * u64::from(height) > PIXELS || width.max(height) > SIDE {
        let text = format!("it has {width}×{height} pixels; images of up to 64 megapixels and {SIDE} on a side are decoded");
        return Err(Problem::new(ErrorKind::TooLarge, text));
    }
    if width == 0 || height == 0 || decoder.total_bytes() > DECODER_BYTES {
        return Err(Problem::new(ErrorKind::Invalid, format!("it has {width}×{height} pixels, or too many bytes for each")));
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let image = eight_bits(DynamicImage::from_decoder(decoder).map_err(failed)?);
    let (to_width, to_height) = shown_size(width, height);
    let mut image =
        if (to_width, to_height) == (width, height) { image } else { image.resize_exact(to_width, to_height, FilterType::CatmullRom) };
    // The metadata that says how it is to be turned does not go on.
    image.apply_orientation(orientation);
    let turned =
        matches!(orientation, Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH);
    Ok(if turned { (image, height, width) } else { (image, width, height) })
}

/// The same image with eight bits for a colour.
fn eight_bits(image: DynamicImage) -> DynamicImage {
    match image.color() {
        color if color.has_alpha() => DynamicImage::ImageRgba8(image.into_rgba8()),
        color if color.has_color() => DynamicImage::ImageRgb8(image.into_rgb8()),
        _ => DynamicImage::ImageLuma8(image.into_luma8()),
    }
}

/// The size at which an image is shown: its own, or the largest of the same shape whose sides are within [`SHOWN_SIDES`].
fn shown_size(width: u32, height: u32) -> (u32, u32) {
    let (long, short) = (width.max(height), width.min(height));
    // The side that is too long by the greater factor decides.
    let (numerator, denominator) = if u64::from(long) * u64::from(SHOWN_SIDES.1) > u64::from(short) * u64::from(SHOWN_SIDES.0) {
        (SHOWN_SIDES.0, long)
    } else {
        (SHOWN_SIDES.1, short)
    };
    if numerator >= denominator {
        return (width, height);
    }
    let scaled = |side: u32| u32::try_from(u64::from(side) * u64::from(numerator) / u64::from(denominator)).unwrap_or(u32::MAX).max(1);
    (scaled(width), scaled(height))
}

/// As JPEG where the file was JPEG, else as PNG; what is too long as PNG is JPEG after all.
fn encode(image: &DynamicImage, format: ImageFormat) -> Result<(Encoding, Vec<u8>), Problem> {
    let failed = |error: ImageError| Problem::of(&error);
    if format != ImageFormat::Jpeg {
        let mut encoded = Vec::new();
        image.write_with_encoder(PngEncoder::new(&mut encoded)).map_err(failed)?;
        if encoded.len() <= ENCODED_BYTES {
            return Ok((Encoding::Png, encoded));
        }
    }
    let pixels = on_white(image);
    for quality in QUALITIES {
        let mut encoded = Vec::new();
        JpegEncoder::new_with_quality(&mut encoded, quality)
            .encode(pixels.as_raw(), pixels.width(), pixels.height(), ExtendedColorType::Rgb8)
            .map_err(failed)?;
        if encoded.len() <= ENCODED_BYTES {
            return Ok((Encoding::Jpeg, encoded));
        }
    }
    Err(Problem::new(ErrorKind::TooLarge, format!("it cannot be encoded in {ENCODED_BYTES} bytes")))
}

/// JPEG knows nothing transparent.
fn on_white(image: &DynamicImage) -> RgbImage {
    let DynamicImage::ImageRgba8(pixels) = image else { return image.to_rgb8() };
    let mut opaque = RgbImage::new(pixels.width(), pixels.height());
    for (to, from) in opaque.pixels_mut().zip(pixels.pixels()) {
        let [red, green, blue, alpha] = from.0.map(u16::from);
        let over = |color: u16| u8::try_from((color * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX);
        *to = Rgb([over(red), over(green), over(blue)]);
    }
    opaque
}

/// Whether a JPEG has an end: the decoder shows one that was cut off as if the rest were grey.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    // After the start of the image come segments that say how long they are, up to the first scan; a small picture within them has an end of its own.
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            0xff => at += 1,
            0xda => return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            _ => at += 2 + usize::from(u16::from_be_bytes([*high, *low])),
        }
    }
    // No scan was found where it should be; the decoder will say what is wrong.
    true
}

#[cfg(test)]
#[path = "view_image_tests.rs"]
mod tests;
