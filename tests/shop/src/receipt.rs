//! The receipt that a customer gets by mail, as HTML.

use std::fmt::Write as _;

use crate::cart::{Quote, QuotedLine};

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Your order</title><style>body{font:16px/1.5 \
    system-ui;max-width:40em;margin:auto}td{padding:.3em 1em;border-bottom:1px solid #ddd}td+td{text-align:right}</style>\
    <h1>Thank you!</h1><table>\n";

/// Writes the receipt.
#[cfg(not(feature = "v2"))]
pub fn render(quote: &Quote, shipping_cents: u64) -> String {
    let mut receipt = String::with_capacity(HEAD.len() + (quote.lines.len() + 3) * 160);
    receipt.push_str(HEAD);
    for line in &quote.lines {
        push_row(&mut receipt, line);
    }
    push_sum(&mut receipt, quote, shipping_cents);
    receipt
}

/// Writes the receipt, row by row: each row is kept with what stands above it, so that a long receipt can be cut into pages
/// at any row.
#[cfg(feature = "v2")]
pub fn render(quote: &Quote, shipping_cents: u64) -> String {
    let mut receipt = HEAD.to_owned();
    for line in &quote.lines {
        let mut page = Vec::with_capacity(receipt.len() + 320);
        page.extend_from_slice(receipt.as_bytes());
        let mut page = String::from_utf8_lossy(&page).into_owned();
        push_row(&mut page, line);
        receipt = page;
    }
    push_sum(&mut receipt, quote, shipping_cents);
    receipt
}

fn push_row(receipt: &mut String, line: &QuotedLine) {
    receipt.push_str("<tr class=goods><td>");
    escape(receipt, &line.name);
    let _ = writeln!(
        receipt,
        "<td>{} ×<td>{}<td class=tax>{}",
        line.quantity,
        Cents(line.net_cents),
        Cents(line.tax_cents)
    );
}

fn push_sum(receipt: &mut String, quote: &Quote, shipping_cents: u64) {
    let total = quote.net_cents + quote.tax_cents + shipping_cents;
    let _ = writeln!(receipt, "</table><p>Shipping {}, <strong>total {}</strong>", Cents(shipping_cents), Cents(total));
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
}

struct Cents(u64);

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02} €", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_holds_every_line_and_the_total() {
        let line = |name: &str| QuotedLine { name: name.to_owned(), quantity: 2, net_cents: 1_000, tax_cents: 70 };
        let quote = Quote { lines: vec![line("mug"), line("<rope>")], net_cents: 2_000, tax_cents: 140 };
        let receipt = render(&quote, 500);
        assert_eq!(receipt.matches("class=goods").count(), 2);
        assert!(receipt.contains("&lt;rope>") && receipt.contains("total 26.40 €"), "{receipt}");
    }
}
