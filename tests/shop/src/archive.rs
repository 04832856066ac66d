//! Orders are kept, compressed.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The last orders are kept in memory; a real shop would have a disk.
const KEPT: usize = 2_000;

/// The last orders.
#[derive(Debug, Default)]
pub struct Archive {
    orders: Mutex<VecDeque<Vec<u8>>>,
}

impl Archive {
    /// Compresses and keeps one order. Returns its size in bytes.
    pub fn keep(&self, order: &[u8]) -> usize {
        let packed = compress(order);
        let size = packed.len();
        let mut orders = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if orders.len() == KEPT {
            orders.pop_front();
        }
        orders.push_back(packed);
        size
    }
}

/// Compresses with gzip.
pub fn compress(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    // Writing to memory cannot fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}
