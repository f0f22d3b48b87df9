//! Bars of block characters, an eighth of a column exact.

const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A bar of `width` columns, `part` of `whole` full. Full only if it is: 99.99 % leaves a gap.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let eighths = match whole {
        0 => width as u128 * 8,
        _ => u128::from(part.min(whole)) * width as u128 * 8 / u128::from(whole),
    } as usize;
    let mut bar = "█".repeat(eighths / 8);
    if eighths / 8 < width {
        bar.push(EIGHTHS[eighths % 8]);
        bar.push_str(&" ".repeat(width - eighths / 8 - 1));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_when_everything_is_there() {
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(9_999, 10_000, 4), "███▉");
        assert_eq!(bar(1, 2, 4), "██  ");
        assert_eq!(bar(0, 10, 4), "    ");
        assert_eq!(bar(0, 0, 2), "██");
    }
}
