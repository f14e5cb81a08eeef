//! `--report DIR`: the report as files.

use std::fs;
use std::io;
use std::path::Path;

use super::model::Report;

/// Writes `report.json` and `report.txt` into a directory, which it makes if need be.
///
/// # Errors
/// When the directory or a file cannot be written.
pub fn write(report: &Report, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    fs::write(directory.join("report.json"), json)?;
    fs::write(directory.join("report.txt"), report.to_string())
}
