//! Sessions in another language.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};

use super::{call, database, log_in, ok, open, run, run_with};
use crate::simulator::protocol::{Language, Length, Parameter, SqlType};

const GERMAN: &str = "CREATE LOGIN deutsch WITH PASSWORD = N'Pa55', DEFAULT_LANGUAGE = German
CREATE USER deutsch FOR LOGIN deutsch";

#[tokio::test]
async fn a_german_login_reads_the_day_first() {
    let database = database(GERMAN).await;
    let mut german = log_in(&database, "deutsch").unwrap();
    assert_eq!(german.locale().language, Language::German);
    let dates = "SELECT CAST('01.02.2020' AS datetime), CAST('2020-02-01' AS datetime),
        CAST('2020-02-01' AS date), CAST('2020-02-01T00:00:00' AS datetime), CAST('20200201' AS datetime),
        CONVERT(datetime, '01.02.2020', 101)";
    let (first, second) = ("2020-02-01 00:00:00.000", "2020-01-02 00:00:00.000");
    let german_dates = [first, second, "2020-02-01", first, first, second].join("|");
    assert_eq!(
        ok(&mut german, dates).await.lines(),
        [german_dates.as_str()]
    );
    let mut english = open(&database);
    let english_dates = [second, first, "2020-02-01", first, first, second].join("|");
    assert_eq!(ok(&mut english, dates).await.lines(), [english_dates]);
    assert_eq!(
        run(&mut german, "SELECT CAST('2020-02-13' AS datetime)")
            .await
            .numbers(),
        [241]
    );
    // A session that runs on the thread of another has its own order.
    assert_eq!(ok(&mut german, dates).await.lines(), [german_dates]);
}

#[tokio::test]
async fn a_language_brings_its_week_and_its_months() {
    let mut s = open(&database(GERMAN).await);
    let asked = "SELECT @@LANGUAGE, @@DATEFIRST, DATEPART(weekday, '20200315'), CONVERT(varchar(30), CAST('20200315' AS date), 106)";
    assert_eq!(
        ok(&mut s, asked).await.lines(),
        ["us_english|7|1|15 Mar 2020"]
    );
    ok(&mut s, "SET LANGUAGE Deutsch").await;
    assert_eq!(ok(&mut s, asked).await.lines(), ["Deutsch|1|7|15 Mär 2020"]);
    ok(&mut s, "SET DATEFIRST 3").await;
    assert_eq!(
        ok(&mut s, "SELECT DATEPART(weekday, '20200315')")
            .await
            .value(),
        "5"
    );
    ok(&mut s, "SET LANGUAGE us_english SET DATEFORMAT dmy").await;
    let date = ok(&mut s, "SELECT CAST('01/02/2020' AS date)").await;
    assert_eq!(date.value(), "2020-02-01");
    s.reset().await;
    assert_eq!(
        ok(&mut s, asked).await.lines(),
        ["us_english|7|1|15 Mar 2020"]
    );
}

#[tokio::test]
async fn a_call_keeps_its_language_to_itself() {
    let mut s = open(&database(GERMAN).await);
    call(&mut s, "SET LANGUAGE Deutsch").await;
    assert_eq!(s.locale().language, Language::English);
    let value: ArrayRef = Arc::new(StringArray::from(vec!["01/02/2020"]));
    let text = Parameter {
        name: "@d".to_owned(),
        sql_type: SqlType::NVarChar(Length::Limited(20)),
        value,
        output: false,
    };
    let sql = "SET DATEFORMAT dmy SELECT CAST(@d AS date)";
    let answer = run_with(&mut s, sql, &[text]).await;
    assert_eq!(answer.value(), "2020-02-01");
}
