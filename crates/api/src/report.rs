//! What the store's own report of the lake says of itself, for whoever wants to know how old a picture is.

use adce_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The inventory report by which a picture was made, or why none was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InventoryReport {
    /// When the store began to make it: what it covers is known as of then. `null`: none was read.
    pub created_at: Option<Timestamp>,
    /// Of its dated folder.
    pub name: Option<String>,
    /// What it is the whole truth of; all other prefixes were listed.
    pub prefixes: Vec<String>,
    /// Why a newer one, or any, was not read. A line each.
    pub refused: Vec<String>,
}

impl InventoryReport {
    /// A line for people, and one for each that was refused.
    pub fn lines(&self) -> Vec<String> {
        let by = self.created_at.map(|created| format!("by the inventory report of {}", created.strftime("%Y-%m-%d %H:%M UTC")));
        by.into_iter().chain(self.refused.iter().cloned()).collect()
    }
}
