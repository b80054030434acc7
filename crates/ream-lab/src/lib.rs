//! Running systems: runs, observations, claims to verdicts, launchers, figures, reports
