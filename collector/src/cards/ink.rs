//! Paper, rectangles, lines and letters. The one font is in the binary: a picture must not depend on what a machine has installed.

use tiny_skia::{Color, FillRule, Paint, PathBuilder, Pixmap, Rect, Stroke, Transform};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::{CardError, png};
use crate::profile::names::printable;

/// A subset of DejaVu Sans; `font-LICENSE.txt` is its licence.
const FONT: &[u8] = include_bytes!("font.ttf");

/// Longer texts are cut before they are measured.
const CHARS_MAX: usize = 400;

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

pub(super) struct Ink {
    pixels: Pixmap,
    face: Face<'static>,
}

impl Ink {
    pub(super) fn new(width: u32, height: u32, paper: Colour) -> Result<Self, CardError> {
        let mut pixels = Pixmap::new(width, height).ok_or_else(|| CardError("there is no room for it".to_owned()))?;
        pixels.fill(Color::from_rgba8(paper.0, paper.1, paper.2, 0xff));
        let face = Face::parse(FONT, 0).map_err(|error| CardError(error.to_string()))?;
        Ok(Self { pixels, face })
    }

    pub(super) fn png(&self) -> Result<Vec<u8>, CardError> {
        png::encode(self.pixels.width(), self.pixels.height(), self.pixels.data())
            .map_err(|error| CardError(error.to_string()))
    }

    /// A rectangle; nothing, if it has no area.
    pub(super) fn fill(&mut self, x: f32, y: f32, width: f32, height: f32, colour: Colour) {
        self.wash(x, y, width, height, colour, 0xff);
    }

    /// The same, through which one sees.
    pub(super) fn wash(&mut self, x: f32, y: f32, width: f32, height: f32, colour: Colour, alpha: u8) {
        if let Some(rect) = Rect::from_xywh(x, y, width, height) {
            self.pixels.fill_rect(rect, &paint(colour, alpha), Transform::identity(), None);
        }
    }

    /// A line through points; gaps between the lists.
    pub(super) fn lines(&mut self, runs: &[Vec<(f32, f32)>], width: f32, colour: Colour) {
        let mut path = PathBuilder::new();
        for run in runs {
            for (i, (x, y)) in run.iter().enumerate() {
                if i == 0 { path.move_to(*x, *y) } else { path.line_to(*x, *y) }
            }
            // A point between two gaps is a dot.
            if let [(x, y)] = run.as_slice() {
                path.line_to(*x + 1.0, *y);
            }
        }
        if let Some(path) = path.finish() {
            let stroke = Stroke { width, ..Stroke::default() };
            self.pixels.stroke_path(&path, &paint(colour, 0xff), &stroke, Transform::identity(), None);
        }
    }

    /// Text on a baseline, cut where there is no more room.
    pub(super) fn text(&mut self, x: f32, baseline: f32, size: f32, colour: Colour, text: &str, room: f32) {
        let text = self.fit(text, size, room);
        let scale = self.scale(size);
        let mut outline = Outline { path: PathBuilder::new(), x, y: baseline, scale };
        for glyph in text.chars().map(|c| self.glyph(c)) {
            self.face.outline_glyph(glyph, &mut outline);
            outline.x += self.advance(glyph) * scale;
        }
        if let Some(path) = outline.path.finish() {
            self.pixels.fill_path(&path, &paint(colour, 0xff), FillRule::Winding, Transform::identity(), None);
        }
    }

    /// How wide a text is.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|c| self.char_width(c, size)).sum()
    }

    /// The start of a text that fits, with an ellipsis if it was cut; nothing where not even two letters fit.
    pub(super) fn fit(&self, text: &str, size: f32, room: f32) -> String {
        let text: String = shown(text);
        let ellipsis = self.char_width('…', size);
        let (mut width, mut kept) = (0.0, 0);
        for (at, c) in text.char_indices() {
            width += self.char_width(c, size);
            if width + ellipsis <= room {
                kept = at + c.len_utf8();
            }
            if width > room {
                let start = text.get(..kept).unwrap_or_default();
                return if start.chars().nth(1).is_none() {
                    String::new()
                } else {
                    start.trim_end().to_owned() + "…"
                };
            }
        }
        text
    }

    /// A text on at most `most` lines, broken at spaces; what is wider than a line is cut.
    pub(super) fn wrap(&self, text: &str, size: f32, room: f32, most: usize) -> Vec<String> {
        let text = shown(text);
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match lines.last_mut() {
                Some(line) if is_one_number(line, word) || self.width(&format!("{line} {word}"), size) <= room => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        if lines.len() > most {
            let rest = lines.split_off(most.saturating_sub(1)).join(" ");
            lines.push(rest);
        }
        lines.into_iter().map(|line| self.fit(&line, size, room)).collect()
    }

    fn scale(&self, size: f32) -> f32 {
        size / f32::from(self.face.units_per_em().max(1))
    }

    fn char_width(&self, c: char, size: f32) -> f32 {
        self.advance(self.glyph(c)) * self.scale(size)
    }

    fn glyph(&self, c: char) -> GlyphId {
        let missing = || self.face.glyph_index('\u{fffd}').unwrap_or(GlyphId(0));
        self.face.glyph_index(c).unwrap_or_else(missing)
    }

    fn advance(&self, glyph: GlyphId) -> f32 {
        f32::from(self.face.glyph_hor_advance(glyph).unwrap_or(0))
    }
}

/// `5 360` and `32 %` stay on one line.
fn is_one_number(before: &str, word: &str) -> bool {
    before.ends_with(|c: char| c.is_ascii_digit()) && word.starts_with(|c: char| c.is_ascii_digit() || c == '%')
}

/// What can be drawn of a text: names come from strangers.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(CHARS_MAX).collect();
    printable(&start)
}

fn paint(Colour(red, green, blue): Colour, alpha: u8) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, alpha);
    paint.anti_alias = true;
    paint
}

/// A glyph on its way from the font's units, upwards, to pixels, downwards.
struct Outline {
    path: PathBuilder,
    x: f32,
    y: f32,
    scale: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink() -> Ink {
        Ink::new(100, 50, Colour(0, 0, 0)).unwrap()
    }

    #[test]
    fn what_does_not_fit_ends_with_an_ellipsis() {
        let ink = ink();
        assert_eq!(ink.fit("TaxRules::rate_for", 20.0, 400.0), "TaxRules::rate_for");
        let cut = ink.fit("TaxRules::rate_for", 20.0, 100.0);
        assert!(cut.starts_with("TaxR") && cut.ends_with('…') && ink.width(&cut, 20.0) <= 100.0, "{cut}");
        assert_eq!(ink.fit("TaxRules::rate_for", 20.0, 20.0), "", "no room for two letters");
        assert_eq!(ink.fit("", 20.0, 0.0), "");
        assert_eq!(ink.fit("a\u{202e}b\nc", 20.0, 400.0), "a\u{fffd}b c");
    }

    #[test]
    fn lines_break_at_spaces_and_the_last_is_cut() {
        let ink = ink();
        let lines = ink.wrap("one two three four five six", 20.0, 100.0, 2);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], "one two");
        assert!(lines[1].starts_with("three") && lines[1].ends_with('…'), "{lines:?}");
        assert_eq!(ink.wrap("  ", 20.0, 100.0, 2), Vec::<String>::new());
    }

    #[test]
    fn every_letter_that_sentences_are_made_of_is_in_the_font() {
        let ink = ink();
        for c in "checkout used +32 % − 0.5 µs … · × → “é” ü ß".chars() {
            assert!(ink.face.glyph_index(c).is_some(), "{c:?}");
        }
    }
}
