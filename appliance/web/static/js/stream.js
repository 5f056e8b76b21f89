// The stream of events, and how much what it told can be believed.
//
//   connecting   nothing has come yet
//   live         the daemon tells what happens
//   gone         the server runs, and the daemon does not answer; numbers are old until it does
//   stale        the connection is broken, or nothing at all has come for SILENCE
//
// EventSource connects again by itself unless the answer was an error, such as 503; then it is closed for good, and a
// new one is made after 1, 2, 4, 8, 10, 10 ... seconds.

export const SILENCE = 12;
const LONGEST_WAIT = 10;
const EVENTS = ["hello", "overview", "services", "numbers", "log", "gone", "alive"];

// How many seconds to wait before attempt number `attempt`, from 0 on.
export function wait(attempt) {
  return Math.min(LONGEST_WAIT, 2 ** attempt);
}

export class Stream {
  // `take(event, data)` gets what comes, `changed(state, why)` is told of every change of state. Lines of the log may
  // come again on a new connection.
  constructor(address, take, changed) {
    this._address = address;
    this._take = take;
    this._changed = changed;
    this._source = null;
    this._attempt = 0;
    this._last = performance.now();
    this.state = "connecting";
    this.why = "";
    setInterval(() => this._look(), 1000);
    this._open();
  }

  // Seconds since anything has come.
  silence() {
    return (performance.now() - this._last) / 1000;
  }

  _open() {
    this._source?.close();
    this._opened = performance.now();
    this._source = new EventSource(this._address);
    this._source.onerror = () => this._broken();
    for (const name of EVENTS) this._source.addEventListener(name, (event) => this._came(name, event));
  }

  _came(name, event) {
    let data;
    try {
      data = JSON.parse(event.data);
    } catch {
      console.warn("an event that is no JSON was left out:", name);
      return;
    }
    this._last = performance.now();
    this._attempt = 0;
    if (name === "gone") this._become("gone", String(data.why ?? ""));
    // A daemon that was gone is back with its next numbers, or with a picture that begins anew.
    else if (this.state !== "gone" || name === "numbers" || name === "hello") this._become("live", "");
    this._take(name, data);
  }

  _broken() {
    this._become("stale", "the connection is broken; trying again");
    if (this._source.readyState !== EventSource.CLOSED) return;
    const seconds = wait(this._attempt);
    this._attempt += 1;
    setTimeout(() => this._open(), seconds * 1000);
  }

  // A connection can die without a word: then it is given up, and another is tried every SILENCE seconds.
  _look() {
    if (this.silence() <= SILENCE) return;
    this._become("stale", "nothing has come");
    const quiet = (performance.now() - this._opened) / 1000 > SILENCE;
    if (quiet && this._source.readyState === EventSource.OPEN) this._open();
  }

  _become(state, why) {
    if (state === this.state && why === this.why) return;
    this.state = state;
    this.why = why;
    this._changed(state, why);
  }
}
