//! Pictures for links: what a chat shows of a page before anybody opens it. 1200 × 630 pixels, drawn from the same answers as the page.
//!
//! Pure: whoever calls has asked what is drawn. Names come from strangers, and are drawn as what can be printed of them.
//!
//! `font.ttf` is made of fonts-dejavu's DejaVuSans.ttf by fonttools: `pyftsubset DejaVuSans.ttf --no-hinting --layout-features=''
//! --drop-tables+=GPOS,GSUB,GDEF,MATH,gasp,FFTM,kern --name-IDs=0,1,2,13,14
//! --unicodes=U+20-7E,U+A0-FF,U+2010-2015,U+2018-201E,U+2022,U+2026,U+2190-2193,U+2212,U+2264,U+2265,U+25B2,U+25BD,U+25C6,U+FFFD`.

mod chart;
mod flame;
mod ink;
mod png;

pub use chart::Chart;
pub use flame::Flame;
use ink::{Colour, Ink};

/// As previews want it.
pub const WIDTH: u32 = 1200;
/// See above.
pub const HEIGHT: u32 = 630;

const MARGIN: f32 = 48.0;
const PAPER: Colour = Colour(0xfb, 0xfa, 0xf7);
const BLACK: Colour = Colour(0x1b, 0x19, 0x17);
const GREY: Colour = Colour(0x6d, 0x66, 0x5d);
const LINE: Colour = Colour(0xd9, 0xd4, 0xca);
const EMBER: Colour = Colour(0xd1, 0x65, 0x0f);

/// Height of the letters that say what a card is about.
const KICKER: f32 = 22.0;

/// Height of a headline's letters, and of one that would have as many lines as there may be.
const HEADLINE: f32 = 40.0;
const HEADLINE_LONG: f32 = 32.0;

/// Lines of a headline; more would leave no room for the picture.
const HEADLINE_LINES: usize = 3;

/// What is drawn.
#[derive(Debug)]
pub struct Card<'a> {
    /// What it is about: service, type, time.
    pub kicker: String,
    /// What it says, in one sentence.
    pub headline: String,
    /// What else must be known, in one line; or nothing.
    pub note: String,
    /// And the picture.
    pub picture: Picture<'a>,
}

/// The lower part of a card.
#[derive(Debug)]
pub enum Picture<'a> {
    /// Words alone.
    None,
    /// A flame graph.
    Flame(Flame<'a>),
    /// A line over time.
    Chart(Chart<'a>),
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("the card cannot be drawn: {0}")]
pub struct CardError(String);

/// Nodes of a tree that is worth drawing: there are not more boxes that can be seen.
pub const NODES_MAX: usize = 4_000;

/// Where something is drawn, in pixels.
#[derive(Debug, Clone, Copy)]
struct Area {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

/// The card as a PNG.
///
/// # Errors
/// When there is no memory for it, or it cannot be encoded.
pub fn png(card: &Card<'_>) -> Result<Vec<u8>, CardError> {
    let mut ink = Ink::new(WIDTH, HEIGHT, PAPER)?;
    let (left, right) = (MARGIN, WIDTH as f32 - MARGIN);
    // The mark, as on every page: layers, the lowest one glowing.
    for (i, (width, colour)) in [(10.0, GREY), (20.0, GREY), (26.0, GREY), (36.0, EMBER)].into_iter().enumerate() {
        ink.fill(left + (36.0 - width) / 2.0, 36.0 + i as f32 * 9.0, width, 7.0, colour);
    }
    ink.text(left + 50.0, 62.0, 30.0, BLACK, "Tephra", 200.0);
    let kicker = ink.fit(&card.kicker, KICKER, right - left - 220.0);
    ink.text(right - ink.width(&kicker, KICKER), 62.0, KICKER, GREY, &kicker, right);
    let wrapped = |size| (size, ink.wrap(&card.headline, size, right - left, HEADLINE_LINES));
    let (size, lines) = Some(wrapped(HEADLINE))
        .filter(|(_, lines)| lines.len() < HEADLINE_LINES)
        .unwrap_or_else(|| wrapped(HEADLINE_LONG));
    let mut y = 136.0;
    for line in lines {
        ink.text(left, y, size, BLACK, &line, right - left);
        y += size * 1.25;
    }
    if !card.note.is_empty() {
        ink.text(left, y - 4.0, 24.0, GREY, &card.note, right - left);
        y += 32.0;
    }
    let area = Area { left, top: y, right, bottom: HEIGHT as f32 - 36.0 };
    match &card.picture {
        Picture::None => {}
        Picture::Flame(flame) => flame.draw(&mut ink, area),
        Picture::Chart(chart) => chart.draw(&mut ink, area),
    }
    ink.png()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::diff::Basis;
    use crate::profile::testing::simulated;
    use crate::profile::tree::Tree;

    fn size(png: &[u8]) -> (u32, u32) {
        assert_eq!(png.get(..8), Some(&b"\x89PNG\r\n\x1a\n"[..]));
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }

    #[test]
    fn every_picture_has_the_size_that_previews_want_and_fits_a_chat() {
        let (a, b) =
            (simulated(1, 10, |_| 1.0), simulated(2, 10, |stack| if stack.contains("step2") { 3.0 } else { 1.0 }));
        let one = Tree::of((&a.0, &a.1));
        let two = Tree::pair((&a.0, &a.1), (&b.0, &b.1));
        let q = vec![0u16; two.nodes.len()];
        let points: Vec<(u64, Option<f64>)> =
            (0..60u32).map(|i| (u64::from(i) * 10_000, (i != 30).then(|| f64::from(i % 7)))).collect();
        for picture in [
            Picture::None,
            Picture::Flame(Flame { tree: &one, q: None, basis: Basis::Cores, is_own: &|_| true }),
            Picture::Flame(Flame { tree: &two, q: Some(&q), basis: Basis::Cores, is_own: &|frame| frame % 2 == 0 }),
            Picture::Chart(Chart {
                points: &points,
                most: "6 cores".to_owned(),
                baseline: (0, 300_000),
                window: (300_000, 600_000),
            }),
        ] {
            let card = Card {
                kicker: "checkout · CPU · 2026-03-01 14:00 UTC".to_owned(),
                headline: "checkout used 1.31 cores more CPU (+32 %): 5.41 cores, 4.10 cores before; 77 % of it is TaxRules::rate_for."
                    .to_owned(),
                note: "4 210 samples now and 4 100 before".to_owned(),
                picture,
            };
            let png = png(&card).unwrap();
            assert_eq!(size(&png), (WIDTH, HEIGHT));
            assert!((5_000..150_000).contains(&png.len()), "{} bytes", png.len());
        }
    }

    #[test]
    fn whatever_is_written_on_it_stays_a_picture() {
        for text in ["", "\u{202e}\0\n", &"x".repeat(9_000), &"日本語 ".repeat(50), "<svg onload=alert(1)>"] {
            let card = Card { kicker: text.into(), headline: text.into(), note: text.into(), picture: Picture::None };
            assert_eq!(size(&png(&card).unwrap()), (WIDTH, HEIGHT));
        }
        let chart = |points: &[(u64, Option<f64>)]| {
            let picture = Picture::Chart(Chart { points, most: String::new(), baseline: (0, 0), window: (9, 3) });
            let card = Card { kicker: String::new(), headline: String::new(), note: String::new(), picture };
            size(&png(&card).unwrap())
        };
        for points in [&[][..], &[(5, None)], &[(5, Some(f64::NAN)), (5, Some(f64::INFINITY))], &[(1, Some(0.0))]] {
            assert_eq!(chart(points), (WIDTH, HEIGHT));
        }
    }
}
