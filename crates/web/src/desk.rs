//! What the server asks of an engine beyond what the commands ask.

use std::sync::Arc;

use adce_api::{Answers, AuditLine, ConfigReport, CoverageReport, EndedAttempt, GapLine, Plan, Refusal, Requested, TaskRequest, TrendLine};
use adce_core::access::TokenRecord;
use adce_core::ids::AttemptId;
use adce_core::time::Timestamp;
use async_trait::async_trait;
use indexmap::IndexMap;

#[async_trait]
pub trait Desk: Answers {
    fn now(&self) -> Timestamp;

    /// Those that hold and those that do not any more, as of now.
    fn known_tokens(&self) -> Arc<Vec<TokenRecord>>;

    /// The same engine, asked by this person or program: what is done is on record as theirs.
    fn on_behalf_of(&self, who: &str, reason: Option<&str>) -> Arc<dyn Answers>;

    /// One look at the whole lake, which may take as long as a cycle.
    async fn plan(&self) -> Result<Plan, Refusal>;

    async fn config_written(&self) -> Result<ConfigReport, Refusal>;

    /// How complete each dataset was, oldest point first.
    async fn trend(&self) -> Result<IndexMap<String, Vec<TrendLine>>, Refusal>;

    /// The latest first; `before`: only those with a smaller number.
    async fn attempts(&self, before: Option<u64>, at_most: u32) -> Result<Vec<EndedAttempt>, Refusal>;

    /// `None`: it has not ended, or its record is gone.
    async fn attempt(&self, id: AttemptId) -> Result<Option<EndedAttempt>, Refusal>;

    /// Gaps that are to be filled soon. Put on record as done by `who`.
    async fn request(&self, who: &str, ask: &TaskRequest) -> Result<Requested, Refusal>;

    /// Gaps of a dataset whose items have these values: name and value.
    async fn gaps_with(&self, dataset: &str, values: &[(String, String)]) -> Result<Vec<GapLine>, Refusal>;

    /// As `adce coverage --format svg` draws it; `trend`: its trend.
    fn picture(&self, report: &CoverageReport, trend: bool) -> String;

    /// The latest first; `before`: only what has a smaller number.
    async fn audit(&self, before: Option<u64>, at_most: u32) -> Result<Vec<AuditLine>, Refusal>;
}
