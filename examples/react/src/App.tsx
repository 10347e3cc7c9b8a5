import { useState, type FormEvent } from "react";
import type { Gap } from "./stream-client.js";
import { useTidegateStream } from "./useTidegateStream";

const query = new URLSearchParams(location.search);
const SERVER = query.get("server") ?? "http://127.0.0.1:3007";

/** A company picker, and that company's stream. */
export function App() {
  const [companyId, setCompanyId] = useState(query.get("companyId") ?? "company-a");
  const [token, setToken] = useState("");
  const [mounted, setMounted] = useState(true);

  function choose(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    setCompanyId(String(fields.get("company")));
    setToken(String(fields.get("token")));
  }

  return (
    <main style={{ maxWidth: "60rem", margin: "2rem auto", padding: "0 1rem", fontFamily: "system-ui, sans-serif" }}>
      <h1>One company's stream</h1>
      <form onSubmit={choose}>
        <label>
          Company <input name="company" defaultValue={companyId} required />
        </label>{" "}
        <label>
          Token, if the host asks for one <input name="token" type="password" autoComplete="off" />
        </label>{" "}
        <button>Open</button>{" "}
        <button type="button" id="mount" onClick={() => setMounted(!mounted)}>
          {mounted ? "Unmount" : "Mount"}
        </button>
      </form>
      {mounted && <Stream companyId={companyId} token={token || undefined} />}
    </main>
  );
}

function Stream({ companyId, token }: { companyId: string; token?: string }) {
  const { events, state, detail, gap, lastEventId } = useTidegateStream({
    url: `${SERVER}/stream/updates`,
    companyId,
    token,
  });
  const why = detail.refusal ? `${detail.refusal.status} ${detail.refusal.message}` : detail.reason;

  return (
    <section aria-label={`Stream of ${companyId}`}>
      <p>
        State: <strong id="state" role="status">{state}</strong> {why && `(${why})`}
      </p>
      {gap && <GapNotice gap={gap} />}
      <p>
        Last id: <code id="last-id">{lastEventId ?? "none yet"}</code>
      </p>
      <ol id="events" reversed>
        {[...events].reverse().map(({ id, type, text }) => (
          <li key={id} data-id={id}>
            <strong>{type}</strong> <code>{text}</code>
          </li>
        ))}
      </ol>
    </section>
  );
}

function GapNotice({ gap }: { gap: Gap }) {
  return (
    <p id="gap" role="alert">
      {gap.missed ?? "An unknown number of"} events missed ({gap.reason}).
    </p>
  );
}
