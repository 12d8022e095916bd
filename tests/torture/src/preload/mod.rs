//! Layer 2 once more, below our own seam: a shim in front of the C library fails its calls, on a real file system. The same workloads, the same
//! faults and the same oracle as in [`crate::faults`]; at the end the directory is opened again.
//!
//! The program compiles the shim, starts itself again with it preloaded, and counts calls for each thread apart.

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
    sync::{Arc, OnceLock},
};

use varvite::io::{
    fs::Directory,
    simulated::{OperationKind, SimulatedDisk},
};

use crate::{
    campaign::{Campaign, Common, Replayed, processors, run},
    faults::{Place, Run, judge, sites, workload},
    quiet::caught,
    support::machine::{Machine, options},
};

const LAYER: &str = "faults --preload";
const SHIM: &str = include_str!("shim.c");
/// Set where the shim is preloaded.
const MARK: &str = "VARVITE_TORTURE_PRELOADED";

/// A prime that is larger than the number of calls of a workload.
const STRIDE: usize = 104_729;

/// Starts the program again with the shim, or is that program.
pub fn start(common: &Common) -> ExitCode {
    if env::var_os(MARK).is_some() {
        return run(LAYER, common, replay, explore);
    }
    let place = tempfile::tempdir().unwrap();
    if let Err(why) = compile(place.path()) {
        println!("SKIPPED: {LAYER}: {why}");
        return ExitCode::SUCCESS;
    }
    let mut again = Command::new(env::current_exe().unwrap());
    let status = again.args(env::args_os().skip(1)).env(MARK, "1").env("LD_PRELOAD", place.path().join("shim.so")).status().unwrap();
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn compile(place: &Path) -> Result<(), String> {
    let source = place.join("shim.c");
    fs::write(&source, SHIM).unwrap();
    let compiler = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(place.join("shim.so")).arg(&source).arg("-ldl").output();
    match compiler {
        Err(error) => Err(format!("no C compiler: {error}")),
        Ok(output) if !output.status.success() => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Ok(_) => Ok(()),
    }
}

/// The functions of the shim.
struct Shim {
    begin: extern "C" fn(libc::c_long, libc::c_long, libc::c_int),
    end: extern "C" fn() -> libc::c_long,
    heal: extern "C" fn(),
    calls: extern "C" fn() -> libc::c_long,
    kind: extern "C" fn(libc::c_long) -> libc::c_int,
}

fn shim() -> &'static Shim {
    static SHIM: OnceLock<Shim> = OnceLock::new();
    SHIM.get_or_init(|| {
        let find = |name: &std::ffi::CStr| {
            // SAFETY: a lookup by a name that ends with a zero.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            assert!(!found.is_null(), "{name:?} is not preloaded");
            found
        };
        // SAFETY: the functions of these names in shim.c have these types.
        unsafe {
            Shim {
                begin: std::mem::transmute::<*mut libc::c_void, extern "C" fn(libc::c_long, libc::c_long, libc::c_int)>(find(
                    c"fault_begin",
                )),
                end: std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::c_long>(find(c"fault_end")),
                heal: std::mem::transmute::<*mut libc::c_void, extern "C" fn()>(find(c"fault_heal")),
                calls: std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> libc::c_long>(find(c"fault_calls")),
                kind: std::mem::transmute::<*mut libc::c_void, extern "C" fn(libc::c_long) -> libc::c_int>(find(c"fault_kind")),
            }
        }
    })
}

/// The calls of this thread from now on, of which some fail; until it is dropped.
pub struct Calls(());

impl Calls {
    pub fn begin(first: u64, last: u64, errno: i32) -> Self {
        (shim().begin)(first as libc::c_long, last as libc::c_long, errno);
        Self(())
    }

    fn none_fails() -> Self {
        (shim().begin)(-1, -1, 0);
        Self(())
    }

    pub fn count(&self) -> u64 {
        (shim().calls)() as u64
    }

    pub fn heal(&self) {
        (shim().heal)();
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        (shim().end)();
    }
}

/// What a call was, as shim.c numbers it.
fn call(number: u64) -> Option<OperationKind> {
    use OperationKind::{Allocate, Create, Link, OpenRead, Read, Remove, SetLen, SyncData, Write};
    const KINDS: [OperationKind; 9] = [Read, Write, Allocate, SetLen, OpenRead, Create, SyncData, Link, Remove];
    let kind = (shim().kind)(number as libc::c_long);
    KINDS.get(usize::try_from(kind).ok()?).copied()
}

/// A machine in a directory; the simulated disk only lends its clock.
fn machine(seed: u64, place: &Path) -> Machine {
    let directory = Directory::create(place).unwrap();
    Machine::on(SimulatedDisk::new(seed), Arc::new(directory), options())
}

/// The calls of a run in which none fails.
fn dry_run(seed: u64) -> Vec<OperationKind> {
    let place = tempfile::tempdir().unwrap();
    let mut machine = machine(seed, place.path());
    let calls = Calls::none_fails();
    machine.open().unwrap();
    for step in workload(seed) {
        machine.step(&step).unwrap_or_else(|error| panic!("{step:?} failed without a fault: {error:?}"));
    }
    (0..calls.count()).map_while(call).collect()
}

fn explore(campaign: &Campaign) {
    campaign.on_threads(processors(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            let calls = match caught(|| dry_run(seed)) {
                Ok(calls) => calls,
                Err(what) => {
                    campaign.found(format!("{seed}/0/none"), what);
                    continue;
                }
            };
            // Here and there, so that a small budget sees all of a workload: a sync of a real device takes its time.
            for at in (0..calls.len()).map(|number| number * STRIDE % calls.len()) {
                let (kind, at) = (calls[at], at as u64);
                campaign.count("calls", 1);
                for site in sites(kind).into_iter().filter(|site| site.of_calls(at).is_some()) {
                    let place = tempfile::tempdir().unwrap();
                    let where_it_fails = Place { on_sync: kind == OperationKind::SyncData };
                    let run = || Run::below(seed, at, where_it_fails, site.clone(), machine(seed, place.path()));
                    judge(campaign, format!("{seed}/{at}/{}", site.label()), run);
                }
                campaign.progress("faults");
                if campaign.is_over() {
                    return;
                }
            }
            campaign.count("workloads in full", 1);
        }
    });
}

fn replay(case: &str) -> Result<String, Replayed> {
    let wrong = || Replayed::Usage(format!("{case:?} is not SEED/CALL/FAULT"));
    let parts: Vec<&str> = case.split('/').collect();
    let [seed, at, name] = parts[..] else { return Err(wrong()) };
    let (seed, at) = (seed.parse().map_err(|_| wrong())?, at.parse::<u64>().map_err(|_| wrong())?);
    let calls = caught(|| dry_run(seed))?;
    let kind = *calls.get(at as usize).ok_or_else(|| Replayed::Usage(format!("the workload has only {} calls", calls.len())))?;
    let site = sites(kind)
        .into_iter()
        .find(|site| site.label() == name)
        .ok_or_else(|| Replayed::Usage(format!("a {kind:?} cannot meet {name}")))?;
    let place = tempfile::tempdir().unwrap();
    let where_it_fails = Place { on_sync: kind == OperationKind::SyncData };
    let told = caught(|| Run::below(seed, at, where_it_fails, site, machine(seed, place.path())).whole())?;
    Ok(format!("{kind:?}: {told:?}; 0 violations"))
}
