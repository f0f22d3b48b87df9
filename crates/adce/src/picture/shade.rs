//! How full a cell is, in eight steps: each a colour that those who see red and green alike can tell apart, and a letter
//! for wherever there are no colours.

use adce_core::coverage::Counts;

/// From "all of it" to "nothing of it", and what is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shade {
    Complete,
    /// 99 % and more, and not all of it.
    Nearly,
    /// 90 % and more.
    Mostly,
    /// Half and more.
    Half,
    /// Less than half, and not nothing.
    Some,
    /// Nothing of it is there.
    Nothing,
    /// Nobody could look, and nothing that was seen is wrong.
    Unknown,
    /// Nothing is wanted: not due yet, expired, or upstream has none.
    NotWanted,
}

impl Shade {
    pub const ALL: [Shade; 8] =
        [Shade::Complete, Shade::Nearly, Shade::Mostly, Shade::Half, Shade::Some, Shade::Nothing, Shade::Unknown, Shade::NotWanted];

    /// `None`: there is no such item.
    pub fn of(counts: &Counts) -> Option<Shade> {
        let (present, wanted) = (counts.present, counts.wanted());
        Some(match counts.items() {
            0 => return None,
            _ if wanted == 0 => Shade::NotWanted,
            _ if counts.is_complete() => Shade::Complete,
            _ if counts.gaps() == 0 => Shade::Unknown,
            // In whole numbers, so that nothing is rounded into a better class.
            _ if present == 0 => Shade::Nothing,
            _ if present * 100 >= wanted * 99 => Shade::Nearly,
            _ if present * 10 >= wanted * 9 => Shade::Mostly,
            _ if present * 2 >= wanted => Shade::Half,
            _ => Shade::Some,
        })
    }

    pub fn words(self) -> &'static str {
        match self {
            Shade::Complete => "complete",
            Shade::Nearly => "99 % and more",
            Shade::Mostly => "90 % and more",
            Shade::Half => "50 % and more",
            Shade::Some => "below 50 %",
            Shade::Nothing => "nothing",
            Shade::Unknown => "unknown",
            Shade::NotWanted => "not wanted",
        }
    }

    pub fn letter(self) -> char {
        match self {
            Shade::Complete => '#',
            Shade::Nearly => '9',
            Shade::Mostly => '8',
            Shade::Half => '5',
            Shade::Some => '1',
            Shade::Nothing => '0',
            Shade::Unknown => '?',
            Shade::NotWanted => '-',
        }
    }

    pub fn rgb(self) -> [u8; 3] {
        match self {
            Shade::Complete => [0x2b, 0x7b, 0xba],
            Shade::Nearly => [0xf6, 0xe2, 0x7f],
            Shade::Mostly => [0xf7, 0xc1, 0x4d],
            Shade::Half => [0xee, 0x84, 0x34],
            Shade::Some => [0xd2, 0x46, 0x38],
            Shade::Nothing => [0x8c, 0x1c, 0x2e],
            Shade::Unknown => [0x9a, 0x6f, 0xb8],
            Shade::NotWanted => [0xa8, 0xb1, 0xba],
        }
    }

    /// Of the 256 that older terminals have.
    pub fn indexed(self) -> u8 {
        match self {
            Shade::Complete => 31,
            Shade::Nearly => 228,
            Shade::Mostly => 221,
            Shade::Half => 208,
            Shade::Some => 167,
            Shade::Nothing => 88,
            Shade::Unknown => 97,
            Shade::NotWanted => 248,
        }
    }

    /// Letters on it are dark, or light.
    pub fn is_light(self) -> bool {
        matches!(self, Shade::Nearly | Shade::Mostly | Shade::Half | Shade::NotWanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shade_is_better_than_what_it_stands_for() {
        let of = |present, missing| Shade::of(&Counts { present, missing, ..Counts::default() });
        for (present, missing, shade) in [
            (10, 0, Shade::Complete),
            (9_999_999, 1, Shade::Nearly),
            (99, 1, Shade::Nearly),
            (989, 11, Shade::Mostly),
            (899, 101, Shade::Half),
            (499, 501, Shade::Some),
            (1, 9_999_999, Shade::Some),
            (0, 1, Shade::Nothing),
        ] {
            assert_eq!(of(present, missing), Some(shade), "{present} and {missing}");
        }
        assert_eq!(of(0, 0), None);
        assert_eq!(Shade::of(&Counts { unknown: 1, present: 5, ..Counts::default() }), Some(Shade::Unknown));
        assert_eq!(Shade::of(&Counts { not_due: 1, ..Counts::default() }), Some(Shade::NotWanted));
        assert_eq!(Shade::of(&Counts { absent: 1, not_due: 1, ..Counts::default() }), Some(Shade::NotWanted));
        assert_eq!(Shade::of(&Counts { stale: 1, unknown: 1, ..Counts::default() }), Some(Shade::Nothing));
    }
}
