//! How many tasks of a session are alive, for whoever looks for leaks: a simulator, a test, a debugger.

use std::cell::Cell;
use std::rc::Rc;

/// Counts the tasks of one driver; cheap to clone, and it outlives the driver.
#[derive(Clone, Debug, Default)]
pub struct TaskGauge(Rc<Cell<usize>>);

impl TaskGauge {
    /// Tasks that were started and whose work is not dropped yet.
    pub fn alive(&self) -> usize {
        self.0.get()
    }

    /// Counts one more, until what is given back is dropped.
    pub(crate) fn count(&self) -> Alive {
        self.0.set(self.0.get() + 1);
        Alive(self.0.clone())
    }
}

/// One task, as long as it lives.
#[derive(Debug)]
pub(crate) struct Alive(Rc<Cell<usize>>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
