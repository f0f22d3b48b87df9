//! Permits, asked for by the gateway and the `http` collector, granted by whoever has the helm.
//!
//! The engine alone owns the limiter; everyone else sends it messages. A permit that was granted to somebody who went
//! away meanwhile goes back by itself.

use adce_core::failpoint::{self, Failpoint};
use adce_core::ids::AttemptId;
use adce_core::ports::{Answer, PermitId, PermitRefused, Permits, Settlement};
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::inbox::Message;
use crate::mail::Mail;

/// The engine's counter for permits.
#[derive(Clone)]
pub struct PermitDesk {
    pub(crate) mail: Mail,
}

/// A permit on its way to the one who asked.
pub(crate) struct Granted {
    permit: Option<PermitId>,
    mail: Mail,
}

impl Granted {
    pub(crate) fn new(permit: PermitId, mail: Mail) -> Self {
        Granted { permit: Some(permit), mail }
    }

    fn take(mut self) -> Option<PermitId> {
        self.permit.take()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let _ = self.mail.send(Message::Settle { permit, how: Settlement::Unsent });
        }
    }
}

#[async_trait]
impl Permits for PermitDesk {
    async fn acquire(&self, attempt: AttemptId, source: &str) -> Result<PermitId, PermitRefused> {
        let (reply, answer) = oneshot::channel();
        let ask = Message::Acquire { attempt, source: source.to_owned(), reply };
        self.mail.bring(ask).map_err(|_| PermitRefused::Stopping)?;
        let granted = answer.await.unwrap_or(Err(PermitRefused::Stopping))?;
        failpoint::reached(Failpoint::PermitGranted);
        granted.take().ok_or(PermitRefused::Stopping)
    }

    fn settle(&self, permit: PermitId, how: Settlement) {
        failpoint::reached(Failpoint::RequestAnswered);
        let _ = self.mail.bring(Message::Settle { permit, how });
    }

    fn answered(&self, attempt: AttemptId, source: &str, answer: Answer) {
        let _ = self.mail.bring(Message::Answered { attempt, source: source.to_owned(), answer });
    }

    fn uncovered(&self, attempt: AttemptId, host: &str, passed: bool) {
        let _ = self.mail.send(Message::Uncovered { attempt, host: host.to_owned(), passed });
    }

    fn distrusted(&self, attempt: AttemptId, host: &str) {
        let _ = self.mail.send(Message::Distrusted { attempt, host: host.to_owned() });
    }
}
