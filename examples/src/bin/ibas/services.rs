//! The apps that are built in, to try things with.

use std::time::Duration;

use ibp_server::{Builder, Request, Response};

/// Answers with the request.
const ECHO: &str = "ibp_test_echo";
/// Sleeps as many milliseconds as the request says in decimal digits (1,000 if it is empty, an hour at most), then answers
/// with the request; code 2 if it says something else.
const SLEEP: &str = "ibp_test_sleep";

/// Offers all of them.
pub fn offer(platform: Builder) -> Builder {
    platform.service(ECHO, echo).service(SLEEP, sleep)
}

fn echo(request: &Request<'_>, response: &mut Response<'_>) -> i32 {
    response.extend_from_slice(request.body());
    0
}

fn sleep(request: &Request<'_>, response: &mut Response<'_>) -> i32 {
    let text = request.body().trim_ascii();
    let milliseconds = match str::from_utf8(text).map(str::parse::<u64>) {
        _ if text.is_empty() => 1_000,
        Ok(Ok(milliseconds)) if milliseconds <= 3_600_000 => milliseconds,
        _ => {
            response.extend_from_slice(b"the request has to be a number of milliseconds, 3600000 at most");
            return 2;
        }
    };
    std::thread::sleep(Duration::from_millis(milliseconds));
    echo(request, response)
}
