// Questions to the server: one at a time, the latest wins, an answer that came too late is dropped.

const PAUSE = 40; // ms from one question to the next
const PATIENCE = 60000; // ms: a large photograph on a slow or busy machine

export class Asker {
  // show(answer, number) gets {ok, data}; data has "error", a sentence, unless ok.
  constructor(show) {
    this.show = show;
    this.number = 0; // of the latest question
    this.settled = 0; // of the latest question whose answer was shown, or is no longer wanted
    this.next = null;
    this.current = null;
  }

  ask(path, type, body) {
    this.next = { path, type, body, number: ++this.number };
    if (!this.current) this.work();
    return this.number;
  }

  forget() {
    this.next = null;
    this.settled = this.number;
    this.current?.abort();
    this.current = null;
  }

  async work() {
    const mine = new AbortController();
    this.current = mine;
    while (this.next && this.current === mine) {
      const question = this.next;
      this.next = null;
      const answer = await put(question, mine.signal);
      if (question.number > this.settled) {
        this.settled = question.number;
        this.show(answer, question.number);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    if (this.current === mine) this.current = null;
  }
}

async function put({ path, type, body }, signal) {
  try {
    const headers = { "Content-Type": type };
    signal = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
    const response = await fetch(path, { method: "POST", headers, body: body(), signal });
    const data = await response.json().catch(() => ({}));
    if (response.ok) return { ok: true, data };
    return { ok: false, data: { error: data.error ?? `The server refused the request (${response.status}).` } };
  } catch (error) {
    if (error.name === "TimeoutError") return { ok: false, data: { error: "The server is busy: try again in a moment." } };
    return { ok: false, data: { error: "The server does not answer: is distlenet draw still running?" } };
  }
}
