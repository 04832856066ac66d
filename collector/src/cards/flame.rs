//! A flame graph small enough for a card: own code strong, the rest pale; a comparison in the colours of the page.

use std::fmt;

use super::ink::{Colour, Ink};
use super::{Area, BLACK, LINE};
use crate::profile::diff::{Basis, Scale};
use crate::profile::said::plain;
use crate::profile::tree::{Tree, flag};

/// Pixels: chats show a card at half of its size, and the letters must still be read.
const ROW: f32 = 36.0;
const LABEL: f32 = 21.0;
/// From a row's top to where its letters stand.
const BASELINE: f32 = 25.0;
/// Between a box's side and its letters.
const PAD: f32 = 6.0;
/// Between boxes.
const GAP: f32 = 2.0;
const LABEL_ROOM_MIN: f32 = 44.0;
/// Thinner boxes are not seen.
const BOX_MIN: f32 = 1.0;

/// A change is one from this false-discovery rate down, in 1/10000.
const SIGNIFICANT: u16 = 500;

const WHITE: Colour = Colour(0xff, 0xff, 0xff);

const OWN: [Colour; 3] = [Colour(0xf5, 0xc2, 0x8c), Colour(0xf2, 0xb5, 0x74), Colour(0xee, 0xaa, 0x62)];
const OTHER: [Colour; 3] = [Colour(0xe3, 0xdf, 0xd6), Colour(0xdc, 0xd7, 0xcc), Colour(0xd5, 0xcf, 0xc2)];

/// Decrease to increase, as on the page.
const CHANGE: [Colour; 9] = [
    Colour(0x2b, 0x7b, 0xba),
    Colour(0x5e, 0x9c, 0xcd),
    Colour(0x92, 0xbf, 0xe0),
    Colour(0xc6, 0xdf, 0xf0),
    Colour(0xe8, 0xe8, 0xe8),
    Colour(0xf9, 0xd9, 0xc1),
    Colour(0xf2, 0xb5, 0x8a),
    Colour(0xe4, 0x8a, 0x4a),
    Colour(0xd1, 0x65, 0x0f),
];

/// A tree to draw; of a comparison the widths are side B's.
pub struct Flame<'a> {
    /// Of one side or two.
    pub tree: &'a Tree,
    /// Of a comparison: each node's false-discovery rate, in 1/10000.
    pub q: Option<&'a [u16]>,
    /// How its sides are made comparable.
    pub basis: Basis,
    /// Which frames are the program's own.
    pub is_own: &'a dyn Fn(usize) -> bool,
}

impl fmt::Debug for Flame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flame").field("nodes", &self.tree.nodes.len()).finish_non_exhaustive()
    }
}

/// Side A of a comparison.
struct Before {
    totals: Vec<u64>,
    /// What makes the sides comparable: factors of A and of B.
    factors: [f64; 2],
}

impl Flame<'_> {
    pub(super) fn draw(&self, ink: &mut Ink, area: Area) {
        let side = self.tree.sides.len().saturating_sub(1);
        let totals = self.tree.totals(side);
        let factor = |side| Scale::of(self.tree, side, self.basis).factor;
        let before = (side > 0).then(|| Before { totals: self.tree.totals(0), factors: [factor(0), factor(1)] });
        let per_value = (area.right - area.left) / totals.first().copied().unwrap_or(0).max(1) as f32;
        let rows = ((area.bottom - area.top) / ROW) as u32;
        let mut left = vec![area.left; self.tree.nodes.len()];
        // Where the next child of a node begins.
        let mut next = left.clone();
        for (i, node) in self.tree.nodes.iter().enumerate() {
            let width = totals[i] as f32 * per_value;
            if i > 0 {
                let parent = node.parent as usize;
                left[i] = next[parent];
                next[parent] += width;
            }
            next[i] = left[i];
            // The root says nothing that the headline does not.
            if i == 0 || node.depth > rows || width < BOX_MIN {
                continue;
            }
            let y = area.top + (node.depth - 1) as f32 * ROW;
            let colour = match &before {
                Some(before) => self.change(i, before, totals[i]),
                None => self.own(node.frame),
            };
            ink.fill(left[i], y, (width - GAP).max(BOX_MIN), ROW - GAP, colour);
            if width > LABEL_ROOM_MIN {
                let name = plain(&self.tree.frame(i).function);
                let letters = if colour == CHANGE[0] { WHITE } else { BLACK };
                ink.text(left[i] + PAD, y + BASELINE, LABEL, letters, &name, width - GAP - 2.0 * PAD);
            }
        }
        ink.fill(area.left, area.top - 8.0, area.right - area.left, 1.0, LINE);
    }

    fn own(&self, frame: u32) -> Colour {
        let info = &self.tree.frames[frame as usize];
        let shade = info.function.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 3;
        let named = info.flags & (flag::UNRESOLVED | flag::TRUNCATED | flag::SMALL) == 0;
        if named && (self.is_own)(frame as usize) { OWN[shade] } else { OTHER[shade] }
    }

    fn change(&self, node: usize, before: &Before, now: u64) -> Colour {
        let is_change = self.q.and_then(|q| q.get(node)).is_some_and(|q| *q <= SIGNIFICANT);
        let (a, b) = (before.totals[node] as f64 * before.factors[0], now as f64 * before.factors[1]);
        if !is_change || a == b {
            return CHANGE[4];
        }
        // Half an octave a step, and at least one; new and gone are the ends.
        let steps = if a > 0.0 && b > 0.0 { ((b / a).log2().abs() / 0.5).ceil().clamp(1.0, 4.0) as usize } else { 4 };
        if b > a { CHANGE[4 + steps] } else { CHANGE[4 - steps] }
    }
}
