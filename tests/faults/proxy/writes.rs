//! How does a write go wrong?

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use hyper::body::Bytes;

use super::{Freeze, FreezeWhen, Order, Proxy};
use crate::answers::{Answer, another, gone, later, status, truncated};
use crate::asked::Asked;
use crate::fault::{Fault, WriteFault};

impl Proxy {
    pub(super) async fn write(self: &Arc<Self>, index: usize, asked: &Asked, parts: Parts, body: Bytes) -> Answer {
        self.happen_beside(asked, true).await;
        if let Some(freeze) = self.freeze.filter(|freeze| asked.who == 0 && freeze.at == asked.number) {
            return self.frozen(freeze, index, asked, parts, body).await;
        }
        let Some(Fault::Write(at, kind)) = self.fault else { return self.whole_write(index, asked, parts, body).await };
        if at != asked.number {
            return self.whole_write(index, asked, parts, body).await;
        }
        self.fire();
        let kill = self.order(|done| Order::Kill { done });
        match kind {
            WriteFault::KillBefore => {
                kill.await;
                Err(gone())
            }
            WriteFault::KillAfter => {
                let _ = self.whole_write(index, asked, parts, body).await;
                kill.await;
                Err(gone())
            }
            WriteFault::ResetAfter => {
                let _ = self.whole_write(index, asked, parts, body).await;
                Err(gone())
            }
            WriteFault::GatewayTimeoutAfter => {
                let _ = self.whole_write(index, asked, parts, body).await;
                Ok(status(504, "Timeout", "request did not complete within the allowed duration"))
            }
            WriteFault::InternalErrorAfter => {
                let _ = self.whole_write(index, asked, parts, body).await;
                Ok(status(500, "InternalError", "an error on the server has prevented the request from succeeding"))
            }
            WriteFault::ConflictInstead if asked.method == Method::POST => {
                Ok(status(409, "AlreadyExists", "it already exists"))
            }
            WriteFault::ConflictInstead => Ok(status(409, "Conflict", "the object has been modified")),
            WriteFault::TooManyRequestsInstead => Ok(later(429, "TooManyRequests", "too many requests")),
            WriteFault::UnavailableInstead => Ok(status(503, "ServiceUnavailable", "the server is overloaded")),
            WriteFault::StallThenKill => {
                self.late_write(kill, index, asked, parts, body).await;
                Err(gone())
            }
            WriteFault::StallThenDeliver => {
                // The operator waits for at most ten seconds.
                let longer = tokio::time::sleep(Duration::from_millis(10_300));
                self.late_write(longer, index, asked, parts, body).await;
                Err(gone())
            }
            WriteFault::Twice => {
                let _ = self.whole_write(index, asked, parts.clone(), body.clone()).await;
                self.whole_write(index, asked, parts, body).await
            }
            WriteFault::TruncatedAnswer => {
                let answer = self.whole_write(index, asked, parts, body).await?;
                truncated(answer).await
            }
            WriteFault::AnotherBody => another(self.whole_write(index, asked, parts, body).await?).await,
        }
    }

    /// Carried out when `after` has come; until then the run is not over.
    async fn late_write(
        &self,
        after: impl Future<Output = ()>,
        index: usize,
        asked: &Asked,
        parts: Parts,
        body: Bytes,
    ) {
        self.book.lock().unwrap().stalls = true;
        after.await;
        let _ = self.whole_write(index, asked, parts, body).await;
        self.book.lock().unwrap().stalls = false;
    }

    async fn whole_write(&self, index: usize, asked: &Asked, parts: Parts, body: Bytes) -> Answer {
        let answer = self.whole(index, parts, body).await;
        // A write that is refused, and will come again, is not yet the moment.
        if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            self.happen_beside(asked, false).await;
        }
        answer
    }

    /// The leader stands still with this write on its way there or back, until the thaw.
    async fn frozen(
        self: &Arc<Self>,
        freeze: Freeze,
        index: usize,
        asked: &Asked,
        parts: Parts,
        body: Bytes,
    ) -> Answer {
        let mut thawed = self.thaw.subscribe();
        self.fire();
        let mut answer = None;
        if freeze.when == FreezeWhen::After {
            answer = Some(self.whole_write(index, asked, parts.clone(), body.clone()).await);
        }
        self.order(|done| Order::Stop { done }).await;
        let _ = thawed.wait_for(|thawed| *thawed).await;
        match answer {
            Some(answer) => answer,
            None => self.whole_write(index, asked, parts, body).await,
        }
    }

    async fn happen_beside(&self, asked: &Asked, before: bool) {
        let Some(beside) = self.beside.as_ref().filter(|beside| beside.before == before && (beside.when)(asked)) else {
            return;
        };
        let first = !std::mem::replace(&mut self.book.lock().unwrap().beside_done, true);
        if first {
            (beside.act)().await;
        }
    }
}
