//! What travels between people, gateway and checkout, as JSON.

use serde::{Deserialize, Serialize};

/// More lines than any real order has; a larger cart is refused.
pub const LINES_MAX: usize = 1_000;

/// What somebody wants to buy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cart {
    /// Who buys: names the session.
    pub customer: String,
    /// Tax region of the delivery address, see [`crate::tax::Region`].
    pub region: u32,
    /// Day of the order, as yyyymmdd.
    pub day: u32,
    /// The goods.
    pub lines: Vec<Line>,
}

/// One kind of goods in a cart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Number of the product in the catalog.
    pub product: u32,
    /// How many.
    pub quantity: u32,
}

/// A cart with prices.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quote {
    /// One per line of the cart, in its order.
    pub lines: Vec<QuotedLine>,
    /// Sum without tax, in cents.
    pub net_cents: u64,
    /// Sum of the taxes, in cents.
    pub tax_cents: u64,
}

/// One line with its price.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuotedLine {
    /// Name of the product.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// Price of all of them without tax, in cents.
    pub net_cents: u64,
    /// Tax on them, in cents.
    pub tax_cents: u64,
}

/// The answer to an order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Confirmation {
    /// Names the order.
    pub order: String,
    /// What it costs with tax, in cents.
    pub total_cents: u64,
    /// The receipt, as HTML.
    pub receipt: String,
    /// Size of the archived order, in bytes.
    pub archived_bytes: usize,
}
