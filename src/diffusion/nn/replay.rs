//! A computation that is done again and again with inputs of the same shapes, such as the UNet in each step.

use candle_core::Tensor;

#[cfg(feature = "cuda")]
use super::profile;
use crate::diffusion::error::Result;

/// Remembers how a computation went, so that the device can repeat it without being told each op again.
///
/// On an NVIDIA GPU the third call records a CUDA graph and all later ones launch it. Everywhere else, and while a
/// profile is taken, every call computes afresh. The result is the same either way.
#[derive(Default)]
pub struct Replay {
    calls: u32,
    #[cfg(feature = "cuda")]
    graph: Option<super::cuda::Graph>,
}

/// Calls before the one that records: a computation of few steps would not get back what recording takes.
#[cfg(feature = "cuda")]
const CALLS_BEFORE: u32 = 2;

impl Replay {
    /// Whether the device can repeat the computation by itself now.
    pub fn is_recorded(&self) -> bool {
        #[cfg(feature = "cuda")]
        return self.graph.is_some();
        #[cfg(not(feature = "cuda"))]
        return false;
    }

    /// `f(inputs)`. `f` must read nothing that changes from call to call but its inputs, and leave nothing behind but
    /// its results.
    ///
    /// # Errors
    /// As `f`.
    pub fn run(
        &mut self,
        inputs: &[Tensor],
        f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        self.calls = self.calls.saturating_add(1);
        #[cfg(feature = "cuda")]
        if !profile::is_on() && inputs.first().is_some_and(super::cuda::takes) {
            if let Some(graph) = self.graph.as_ref().filter(|graph| graph.fits(inputs)) {
                return graph.launch(inputs);
            }
            if self.calls == CALLS_BEFORE + 1 {
                let (results, graph) = super::cuda::Graph::record(inputs, f)?;
                self.graph = graph;
                return Ok(results);
            }
        }
        f(inputs)
    }
}
