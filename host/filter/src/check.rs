//! The verdict over a file: the same for a push, a file in a folder and the command line.

use crate::component::without_wasi;
use crate::error::LoadError;
use crate::limits::Limits;
use crate::world::World;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Parser, Payload, TypeBounds};

/// Components in one another. What compilers make has two or three.
const NESTING_MAX: usize = 100;

const PACKAGE: &str = "tidegate:filter/";

/// Where a filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Before the companies: decides company and event type, keeps nothing.
    Platform,
    /// In a company's chain.
    Company,
}

impl Role {
    /// Its name, as authors write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Company => "company",
        }
    }
}

/// What a component asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surface {
    pub(crate) imports_state: bool,
    /// The version that its imports are of; none where it imports nothing of the world.
    pub(crate) world: Option<World>,
}

/// Whether the file is small enough to be looked at.
pub(crate) fn check_size(bytes: usize, limits: &Limits) -> Result<(), LoadError> {
    if bytes > (limits.module_mib as usize) << 20 {
        return Err(LoadError::TooLarge { bytes, mib: limits.module_mib });
    }
    Ok(())
}

/// Whether the component's imports and exports are those of a filter in this role, by name. Their types are compared
/// when it is linked.
pub(crate) fn check_surface(component: &[u8], role: Role) -> Result<Surface, LoadError> {
    let damaged = |error: wasmparser::BinaryReaderError| {
        LoadError::Format(format!("the component is damaged or half written: {error}"))
    };
    let mut surface = Surface::default();
    let mut exports = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(LoadError::Format(format!(
                        "the component is damaged: over {NESTING_MAX} components nest in one another"
                    )));
                }
            }
            // Each is read once by a reader that bounds how deep types nest; that of wasmtime 48 does not.
            Payload::ComponentTypeSection(section) => {
                for declared in section {
                    declared.map_err(damaged)?;
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(damaged)?;
                    // A type that the world gives a second name: nothing is asked for.
                    if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                        check_import(import.name.name, role, &mut surface)?;
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(damaged)?;
                    if export.kind == ComponentExternalKind::Func {
                        exports.push(export.name.name);
                    }
                }
            }
            _ => {}
        }
    }
    for name in ["describe", "init", "process"] {
        if !exports.contains(&name) {
            return Err(LoadError::World(format!(
                "it exports no function `{name}`: it is no filter of tidegate:filter"
            )));
        }
    }
    Ok(surface)
}

fn check_import(import: &str, role: Role, surface: &mut Surface) -> Result<(), LoadError> {
    if import.starts_with("wasi:") {
        return Err(LoadError::World(without_wasi(import)));
    }
    let Some(rest) = import.strip_prefix(PACKAGE) else {
        return Err(LoadError::World(format!(
            "it imports `{import}`; a filter is offered tidegate:filter/log and tidegate:filter/state only"
        )));
    };
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    let world = World::of(version)?;
    if surface.world.is_some_and(|other| other != world) {
        return Err(LoadError::World("it imports from two versions of tidegate:filter: build it with one".into()));
    }
    surface.world = Some(world);
    match (interface, role) {
        ("types" | "log", _) => Ok(()),
        ("state", Role::Company) => {
            surface.imports_state = true;
            Ok(())
        }
        ("state", Role::Platform) => Err(LoadError::World(
            "it imports tidegate:filter/state: a platform filter keeps nothing, since its batches run in pieces side by side".into(),
        )),
        _ => Err(LoadError::World(format!("it imports `{import}`, which version {} of tidegate:filter doesn't have", world.number()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(import: &str, role: Role) -> Result<bool, String> {
        let mut surface = Surface::default();
        check_import(import, role, &mut surface).map(|()| surface.imports_state).map_err(|error| error.to_string())
    }

    #[test]
    fn only_log_and_state_are_offered() {
        assert_eq!(told("tidegate:filter/log@1.0.0", Role::Platform), Ok(false));
        assert_eq!(told("tidegate:filter/state@2.4.2", Role::Company), Ok(true));
        assert!(told("tidegate:filter/state@1.0.0", Role::Platform).expect_err("refused").contains("keeps nothing"));
        assert!(told("tidegate:filter/clock@1.0.0", Role::Company).is_err());
        assert!(told("other:thing/x@1.0.0", Role::Company).expect_err("refused").contains("other:thing/x"));
        assert!(
            told("wasi:clocks/monotonic-clock@0.2.0", Role::Company)
                .expect_err("refused")
                .contains("wasm32-unknown-unknown")
        );
    }

    #[test]
    fn one_filter_is_of_one_version() {
        let mut surface = Surface::default();
        check_import("tidegate:filter/log@2.0.0", Role::Company, &mut surface).expect("offered");
        assert_eq!(surface.world, Some(World::V2));
        let told = check_import("tidegate:filter/state@1.0.0", Role::Company, &mut surface).expect_err("refused");
        assert!(told.to_string().contains("two versions"), "{told}");
    }
}
