//! The config by which the engine of this process works now: others may ask for it while it changes.

use std::sync::{Arc, PoisonError, RwLock};

use adce_core::spec::Spec;
use adce_engine::Edited;

use crate::config::Written;

#[derive(Clone)]
pub struct InForce(Arc<RwLock<Now>>);

struct Now {
    spec: Arc<Spec>,
    written: Written,
    at_next_start: Vec<String>,
}

impl InForce {
    pub fn new(spec: Arc<Spec>, written: Written) -> Self {
        InForce(Arc::new(RwLock::new(Now { spec, written, at_next_start: Vec::new() })))
    }

    pub fn spec(&self) -> Arc<Spec> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).spec.clone()
    }

    pub fn written(&self) -> Written {
        self.0.read().unwrap_or_else(PoisonError::into_inner).written.clone()
    }

    /// Parts of what is written that are not.
    pub fn at_next_start(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).at_next_start.clone()
    }

    pub fn is(&self, spec: Arc<Spec>, written: Written, edited: &Edited) {
        let at_next_start = edited.at_next_start.clone();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Now { spec, written, at_next_start };
    }
}
