//! A network of a pipeline: picked up when it is needed, put down when memory is, and picked up again in f32 when
//! its own floats were too short.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::DType;

use super::error::Result;

/// Room for a network of type `T`.
pub struct Component<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    dtype: DType,
    network: Option<Arc<T>>,
}

impl<T> Component<T> {
    /// Room for one that is to be loaded in `dtype`.
    pub fn new(dtype: DType) -> Self {
        Self { state: Mutex::new(State { dtype, network: None }) }
    }

    /// The network; `load` reads it if it is not here.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn get(&self, load: impl FnOnce(DType) -> Result<T>) -> Result<Arc<T>> {
        let mut state = self.lock();
        if let Some(network) = &state.network {
            return Ok(Arc::clone(network));
        }
        let network = Arc::new(load(state.dtype)?);
        state.network = Some(Arc::clone(&network));
        Ok(network)
    }

    /// The dtype that it has or will have.
    pub fn dtype(&self) -> DType {
        self.lock().dtype
    }

    /// Gives its memory back, once nobody computes with it any more.
    pub fn release(&self) {
        self.lock().network = None;
    }

    /// From now on in f32. Returns whether it was not already.
    pub fn upcast(&self) -> bool {
        let mut state = self.lock();
        if state.dtype == DType::F32 {
            return false;
        }
        *state = State { dtype: DType::F32, network: None };
        true
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_loaded_once_until_it_is_released_or_upcast() {
        let component = Component::new(DType::F16);
        let loads = std::cell::RefCell::new(Vec::new());
        let get = || {
            component
                .get(|dtype| {
                    loads.borrow_mut().push(dtype);
                    Ok(())
                })
                .unwrap()
        };
        get();
        get();
        component.release();
        get();
        assert!(component.upcast() && !component.upcast());
        get();
        assert_eq!(*loads.borrow(), [DType::F16, DType::F16, DType::F32]);
        assert_eq!(component.dtype(), DType::F32);
    }
}
