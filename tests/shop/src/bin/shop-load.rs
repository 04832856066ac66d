//! Sends people to the shop: `shop-load [--target URL] [--rate PER_SECOND] [--seconds N] [--seed N]`.

use std::time::Duration;

use shop::client::Error;
use shop::load::{self, Plan};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let plan = read_plan(std::env::args().skip(1))?;
    println!("{} requests/s to {}", plan.rate, plan.target);
    for (route, mut outcome) in load::run(&plan).await {
        outcome.took.sort_unstable();
        let at = |share: f64| {
            let last = outcome.took.len().saturating_sub(1) as f64;
            outcome.took.get((last * share) as usize).copied().unwrap_or_default()
        };
        println!(
            "{route:<10} {:>6} ok {:>5} failed   p50 {:>9.1?}   p99 {:>9.1?}   max {:>9.1?}",
            outcome.took.len(),
            outcome.failed,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    Ok(())
}

fn read_plan(mut args: impl Iterator<Item = String>) -> Result<Plan, Error> {
    let mut plan = Plan { target: "http://127.0.0.1:4051".to_owned(), rate: 60.0, lasts: None, seed: 7 };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--target" => plan.target = value,
            "--rate" => plan.rate = value.parse::<f64>()?.clamp(0.1, 2_000.0),
            "--seconds" => plan.lasts = Some(Duration::from_secs(value.parse()?)),
            "--seed" => plan.seed = value.parse()?,
            _ => return Err(format!("unknown option {name}: try --target, --rate, --seconds or --seed").into()),
        }
    }
    Ok(plan)
}
