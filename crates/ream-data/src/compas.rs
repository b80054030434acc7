//! COMPAS: two-year recidivism of defendants in Broward County (ProPublica 2016).
//!
//! Names and dates of birth are in the file and go no further than the reader's line: a [`Record`] has no place for them.

use std::path::Path;

use crate::error::DataError;

/// One defendant.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Age in years.
    pub age: f64,
    /// Self-reported group, as in the file.
    pub race: String,
    /// Whether the file says `Male`.
    pub male: bool,
    /// Juvenile felonies.
    pub juvenile_felonies: f64,
    /// Juvenile misdemeanours.
    pub juvenile_misdemeanours: f64,
    /// Prior offences.
    pub priors: f64,
    /// Whether the charge is a felony.
    pub felony: bool,
    /// The tool's score, 1..=10.
    pub decile: f64,
    /// Whether the person was charged again within two years.
    pub recidivism: bool,
}

/// Reads the records that ProPublica's analysis keeps: screened within 30 days of arrest, recidivism known, an ordinary
/// charge, a score given (6,172 of 7,214).
///
/// # Errors
/// A column is missing, or a cell is not what it should be.
pub fn load(path: &Path) -> Result<Vec<Record>, DataError> {
    let mut reader = csv::ReaderBuilder::new().from_path(path).map_err(|e| broken(path, &e))?;
    let header = reader.headers().map_err(|e| broken(path, &e))?.clone();
    // `decile_score` and `priors_count` occur twice: the first is meant.
    let column = |name: &str| {
        header
            .iter()
            .position(|h| h == name)
            .ok_or_else(|| DataError::format(path, format!("there is no column `{name}`")))
    };
    let at = Columns {
        age: column("age")?,
        race: column("race")?,
        sex: column("sex")?,
        juvenile_felonies: column("juv_fel_count")?,
        juvenile_misdemeanours: column("juv_misd_count")?,
        priors: column("priors_count")?,
        days: column("days_b_screening_arrest")?,
        charge: column("c_charge_degree")?,
        is_recid: column("is_recid")?,
        score_text: column("score_text")?,
        decile: column("decile_score")?,
        two_year: column("two_year_recid")?,
    };
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| broken(path, &e))?;
        if let Some(record) = decode(path, &at, &row)? {
            records.push(record);
        }
    }
    Ok(records)
}

struct Columns {
    age: usize,
    race: usize,
    sex: usize,
    juvenile_felonies: usize,
    juvenile_misdemeanours: usize,
    priors: usize,
    days: usize,
    charge: usize,
    is_recid: usize,
    score_text: usize,
    decile: usize,
    two_year: usize,
}

fn decode(path: &Path, at: &Columns, row: &csv::StringRecord) -> Result<Option<Record>, DataError> {
    let line = row.position().map_or(0, csv::Position::line);
    let word = |index: usize| row.get(index).unwrap_or_default();
    let number = |index: usize, name: &str| {
        word(index)
            .parse::<f64>()
            .map_err(|_| DataError::line(path, line, format!("`{name}` is a number, got `{}`", word(index))))
    };
    if word(at.days).is_empty() {
        return Ok(None);
    }
    let keep = number(at.days, "days_b_screening_arrest")?.abs() <= 30.0
        && word(at.is_recid) != "-1"
        && word(at.charge) != "O"
        && !matches!(word(at.score_text), "N/A" | "");
    if !keep {
        return Ok(None);
    }
    Ok(Some(Record {
        age: number(at.age, "age")?,
        race: word(at.race).to_owned(),
        male: word(at.sex) == "Male",
        juvenile_felonies: number(at.juvenile_felonies, "juv_fel_count")?,
        juvenile_misdemeanours: number(at.juvenile_misdemeanours, "juv_misd_count")?,
        priors: number(at.priors, "priors_count")?,
        felony: word(at.charge) == "F",
        decile: number(at.decile, "decile_score")?,
        recidivism: word(at.two_year) == "1",
    }))
}

fn broken(path: &Path, error: &csv::Error) -> DataError {
    DataError::format(path, format!("cannot be read as CSV: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "id,name,sex,dob,age,race,juv_fel_count,decile_score,juv_misd_count,priors_count,days_b_screening_arrest,c_charge_degree,is_recid,score_text,decile_score,priors_count,two_year_recid";

    #[test]
    fn the_standard_filter_and_the_first_of_two_columns() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("compas.csv");
        let rows = [
            "1,a b,Male,1947-04-18,69,Caucasian,0,1,0,2,-1,F,0,Low,9,9,0",
            "2,c d,Female,1980-01-01,30,African-American,0,4,1,3,31,F,0,Low,9,9,1",
            "3,e f,Female,1980-01-01,30,African-American,0,4,1,3,,F,0,Low,9,9,1",
            "4,g h,Female,1980-01-01,30,Other,0,4,1,3,5,O,0,Low,9,9,1",
            "5,i j,Female,1980-01-01,30,Other,0,4,1,3,5,M,-1,Low,9,9,1",
            "6,k l,Female,1980-01-01,30,Other,0,4,1,3,5,M,1,N/A,9,9,1",
            "7,m n,Female,1980-01-01,30,Other,0,4,1,3,5,M,1,High,9,9,1",
        ];
        std::fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
        let records = load(&path).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(
            (records[0].decile, records[0].priors, records[0].male, records[0].felony),
            (1.0, 2.0, true, true)
        );
        assert_eq!((records[1].recidivism, records[1].felony), (true, false));
        std::fs::write(&path, HEADER.replace("race,", "")).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("there is no column `race`"));
    }
}
