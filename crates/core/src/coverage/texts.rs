//! Many short texts in one allocation: a column of a million cells costs its bytes and four more a cell.

/// Texts by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    all: String,
    /// Where each text ends in `all`.
    ends: Vec<u32>,
}

/// One column has more than 4 GiB of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuchText;

impl Texts {
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Texts, TooMuchText> {
        let mut all = Texts::default();
        texts.into_iter().try_for_each(|text| all.push(text))?;
        all.all.shrink_to_fit();
        all.ends.shrink_to_fit();
        Ok(all)
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), TooMuchText> {
        let end = u32::try_from(self.all.len() + text.len()).map_err(|_| TooMuchText)?;
        self.all.push_str(text);
        self.ends.push(end);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.all[start as usize..self.ends[at] as usize]
    }
}
