//! What one instance may take of the host: linear memory, tables, instances.

use wasmtime::ResourceLimiter;

/// Elements over all tables of an instance; interpreters bring tables of some ten thousand.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 1_000_000;

/// Counts what an instance holds and refuses more than its limits. A refusal is not a trap: `memory.grow` answers -1,
/// and a guest that can live with that lives on. That it happened is remembered, to name the cause of a trap after it.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_max: usize,
    memory: usize,
    tables: usize,
    refused: Option<Refused>,
}

/// What was refused last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Memory,
    Table,
}

impl Limiter {
    pub(crate) fn new(memory_max: usize) -> Self {
        Self { memory_max, memory: 0, tables: 0, refused: None }
    }

    /// Bytes of linear memory it holds.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// What was refused since the last call of this.
    pub(crate) fn take_refused(&mut self) -> Option<Refused> {
        std::mem::take(&mut self.refused)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        if total > self.memory_max {
            self.refused = Some(Refused::Memory);
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables.saturating_sub(current).saturating_add(desired);
        if total > TABLE_ELEMENTS_MAX {
            self.refused = Some(Refused::Table);
            return Ok(false);
        }
        self.tables = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}
