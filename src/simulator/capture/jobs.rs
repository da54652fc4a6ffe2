//! The procedures of the capture and cleanup jobs.

use std::sync::Arc;

use super::behaviour::CaptureJob;
use super::cleanup;
use super::enable::enabled;
use super::job::{self, CaptureSettings, CleanupSettings, JobSettings, scan_once};
use super::procedures::{Argument, Arguments, unconverted};
use crate::simulator::protocol::ServerError;
use crate::simulator::store::{DatabaseCell, State};

/// The longest retention: 100 years, in minutes.
const LONGEST_RETENTION: i64 = 52_594_800;

/// The settings, as parameters of the procedures.
const SETTINGS: &[&str] = &[
    "job_type",
    "start_job",
    "maxtrans",
    "maxscans",
    "continuous",
    "pollinginterval",
    "retention",
    "threshold",
];
/// `sp_cdc_change_job` has no `@start_job`.
const CHANGED_SETTINGS: &[&str] = &[
    "job_type",
    "maxtrans",
    "maxscans",
    "continuous",
    "pollinginterval",
    "retention",
    "threshold",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Capture,
    Cleanup,
}

fn kind(arguments: &Arguments<'_>, default: Option<Kind>) -> Result<Kind, ServerError> {
    let text = arguments.text("job_type")?;
    match (text.as_deref().map(str::to_lowercase).as_deref(), default) {
        (Some("capture"), _) => Ok(Kind::Capture),
        (Some("cleanup"), _) => Ok(Kind::Cleanup),
        (None, Some(default)) => Ok(default),
        (other, _) => Err(ServerError::new(
            22992,
            format!(
                "The specified @job_type, {}, is not supported. The value specified for the parameter @job_type must be N'capture' to indicate a capture job, or N'cleanup' to indicate a cleanup job.",
                other.unwrap_or("NULL")
            ),
        )),
    }
}

/// `sys.sp_cdc_add_job`.
pub(super) fn add(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(state)?;
    let arguments = Arguments::bind("sp_cdc_add_job", SETTINGS, arguments)?;
    let kind = kind(&arguments, None)?;
    change_settings(state, |jobs| match kind {
        Kind::Capture if jobs.capture.is_some() => Err(job_exists("capture")),
        Kind::Cleanup if jobs.cleanup.is_some() => Err(job_exists("cleanup")),
        Kind::Capture => {
            let settings = capture_settings(&arguments, CaptureSettings::default())?;
            jobs.capture = Some(settings);
            Ok(())
        }
        Kind::Cleanup => {
            let settings = cleanup_settings(&arguments, CleanupSettings::default())?;
            jobs.cleanup = Some(settings);
            Ok(())
        }
    })
}

/// `sys.sp_cdc_change_job`. What it changes holds from the next scan on.
pub(super) fn change(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    let database = enabled(state).map(|_| state.name.clone())?;
    let arguments = Arguments::bind("sp_cdc_change_job", CHANGED_SETTINGS, arguments)?;
    let kind = kind(&arguments, Some(Kind::Capture))?;
    change_settings(state, |jobs| match kind {
        Kind::Capture => {
            let now = jobs.capture.ok_or_else(|| no_job("capture", &database))?;
            jobs.capture = Some(capture_settings(&arguments, now)?);
            Ok(())
        }
        Kind::Cleanup => {
            let now = jobs.cleanup.ok_or_else(|| no_job("cleanup", &database))?;
            jobs.cleanup = Some(cleanup_settings(&arguments, now)?);
            Ok(())
        }
    })
}

/// `sys.sp_cdc_drop_job`.
pub(super) fn drop_job(state: &mut State, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(state)?;
    let arguments = Arguments::bind("sp_cdc_drop_job", &["job_type"], arguments)?;
    let kind = kind(&arguments, None)?;
    change_settings(state, |jobs| {
        match kind {
            Kind::Capture => jobs.capture = None,
            Kind::Cleanup => jobs.cleanup = None,
        }
        Ok(())
    })
}

fn change_settings(
    state: &mut State,
    change: impl FnOnce(&mut JobSettings) -> Result<(), ServerError>,
) -> Result<(), ServerError> {
    match &mut state.capture {
        Some(capture) => change(&mut Arc::make_mut(capture).jobs),
        None => Ok(()),
    }
}

fn capture_settings(
    arguments: &Arguments<'_>,
    now: CaptureSettings,
) -> Result<CaptureSettings, ServerError> {
    let positive = |name: &str, number, now: u32| match arguments.int(name)? {
        None => Ok(now),
        Some(given) if given > i32::MAX.into() => Err(unconverted("int")),
        Some(given) => u32::try_from(given).ok().filter(|n| *n > 0).ok_or_else(|| {
            ServerError::new(
                number,
                format!("The value specified for the parameter @{name} must be greater than 0."),
            )
        }),
    };
    Ok(CaptureSettings {
        maxtrans: positive("maxtrans", 22991, now.maxtrans)?,
        maxscans: positive("maxscans", 22990, now.maxscans)?,
        continuous: arguments
            .int("continuous")?
            .map_or(now.continuous, |flag| flag != 0),
        pollinginterval: arguments
            .int("pollinginterval")?
            .unwrap_or(now.pollinginterval),
    })
}

fn cleanup_settings(
    arguments: &Arguments<'_>,
    now: CleanupSettings,
) -> Result<CleanupSettings, ServerError> {
    let retention = arguments.int("retention")?;
    if retention.is_some_and(|minutes| !(1..=LONGEST_RETENTION).contains(&minutes)) {
        return Err(ServerError::new(
            22994,
            "The retention value specified for the Change Data Capture cleanup process must be greater than 0 and less than or equal to 52594800. When creating or modifying the cleanup job, specify a retention value (in minutes) that is within that range. If this error is encountered when executing the stored procedure sys.sp_cdc_cleanup_change_table, reset the retention value associated with the job to a non-negative value by using the sys.sp_cdc_change_job stored procedure.",
        ));
    }
    Ok(CleanupSettings {
        retention: retention.unwrap_or(now.retention),
        threshold: arguments
            .value("threshold")
            .as_int()
            .unwrap_or(now.threshold),
    })
}

fn job_exists(kind: &str) -> ServerError {
    ServerError::new(
        22836,
        format!("The Change Data Capture {kind} job of this database exists already."),
    )
}

fn no_job(kind: &str, database: &str) -> ServerError {
    ServerError::new(
        22836,
        format!("There is no Change Data Capture {kind} job for database '{database}'."),
    )
}

/// `sys.sp_cdc_start_job`: the capture job goes on, or the cleanup job runs once.
pub(super) fn start(cell: &DatabaseCell, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(&cell.committed())?;
    let arguments = Arguments::bind("sp_cdc_start_job", &["job_type"], arguments)?;
    match kind(&arguments, Some(Kind::Capture))? {
        Kind::Capture => {
            cell.stop_job(false);
            job::after_commit(cell);
            Ok(())
        }
        Kind::Cleanup => cleanup::by_retention(cell),
    }
}

/// `sys.sp_cdc_stop_job`.
pub(super) fn stop(cell: &DatabaseCell, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(&cell.committed())?;
    let arguments = Arguments::bind("sp_cdc_stop_job", &["job_type"], arguments)?;
    if kind(&arguments, Some(Kind::Capture))? == Kind::Capture {
        cell.stop_job(true);
    }
    Ok(())
}

/// `sys.sp_cdc_scan`: scans the log now, unless the capture job does it anyway.
pub(super) fn scan(cell: &DatabaseCell, arguments: &[Argument]) -> Result<(), ServerError> {
    enabled(&cell.committed())?;
    let parameters = &[
        "maxtrans",
        "maxscans",
        "continuous",
        "pollinginterval",
        "is_from_job",
    ];
    let arguments = Arguments::bind("sp_cdc_scan", parameters, arguments)?;
    if arguments.int("continuous")? == Some(1) {
        return Err(ServerError::unsupported("sp_cdc_scan with @continuous = 1"));
    }
    if matches!(cell.schedule(), CaptureJob::Every(_)) && job::running(cell).is_some() {
        return Err(ServerError::new(
            22903,
            "Another connection is already running 'sp_replcmds' for Change Data Capture in the current database.",
        ));
    }
    let settings = capture_settings(&arguments, CaptureSettings::default())?;
    let limit = usize::try_from(settings.maxtrans).unwrap_or(usize::MAX);
    for _ in 0..settings.maxscans {
        let end = cell.log_end();
        let report = scan_once(cell, end, Some(limit)).ok_or_else(ServerError::lock_timeout)?;
        if let Some(error) = report.error {
            return Err(ServerError::new(
                22863,
                format!("The scan of the log failed: {error}"),
            ));
        }
        if report.transactions < limit {
            break;
        }
    }
    Ok(())
}
