// The plain live page: it asks the HTTP API every two seconds and shows what
// comes. Everything that comes is set as text, never as markup.
"use strict";

const period = 2000; // milliseconds
const keep = 20; // events

// show fills a table. columns: [title, value of a row, class of the cell].
function show(id, columns, rows, empty) {
  const table = document.getElementById(id);
  const head = document.createElement("thead");
  const names = head.insertRow();
  for (const [title, , , number] of columns) {
    const th = document.createElement("th");
    th.scope = "col";
    th.textContent = title;
    if (number) th.className = "number";
    names.append(th);
  }
  const body = document.createElement("tbody");
  for (const row of rows) {
    const tr = body.insertRow();
    for (const [, value, style, number] of columns) {
      const td = tr.insertCell();
      td.textContent = value(row) ?? "-";
      const names = [style ? style(row) : "", number ? "number" : ""].filter(Boolean);
      if (names.length) td.className = names.join(" ");
    }
  }
  if (!rows.length) {
    const td = body.insertRow().insertCell();
    td.colSpan = columns.length;
    td.textContent = empty;
  }
  table.replaceChildren(head, body);
}

const number = true;
const ms = (v) => (v == null ? null : v + " ms");
const percent = (v) => (v == null ? null : (v * 100).toFixed(2) + " %");
const bytes = (v) => (v == null ? null : v >= 1e6 ? (v / 1e6).toFixed(1) + " MB" : v >= 1e3 ? (v / 1e3).toFixed(1) + " kB" : v.toFixed(0) + " B");
const health = (v) => (v == null ? "" : v >= 0.99 ? "good" : v >= 0.9 ? "wait" : "bad");

const statColumns = [
  ["Namespace", (r) => r.namespace],
  ["Name", (r) => r.name],
  ["Meshed", (r) => r.meshed, null, number],
  ["Success", (r) => percent(r.success), (r) => health(r.success), number],
  ["Requests/s", (r) => r.rps?.toFixed(1), null, number],
  ["P50", (r) => ms(r.latency_ms_p50), null, number],
  ["P95", (r) => ms(r.latency_ms_p95), null, number],
  ["P99", (r) => ms(r.latency_ms_p99), null, number],
  ["Connections", (r) => r.tcp_open_connections, null, number],
  ["Read/s", (r) => bytes(r.read_bytes_per_second), null, number],
  ["Written/s", (r) => bytes(r.write_bytes_per_second), null, number],
];

const stateStyle = { closed: "good", "half-open": "wait", open: "bad" };
const service = (s) => s.name + (s.namespace ? "." + s.namespace : "") + (s.port ? ":" + s.port : "");
const client = (c) => c.workload || c.pod || c.node;
const endpoint = (e) => (e.pod ? e.pod + " (" + e.address + ")" : e.address);

function nextProbe(b, at) {
  if (b.state === "half-open") return "now";
  if (b.state !== "open" || !b.until) return null;
  const left = (Date.parse(b.until) - at) / 1000;
  return left <= 0 ? "now" : left.toFixed(1) + " s";
}

const breakerColumns = (at) => [
  ["Client", (b) => client(b.client)],
  ["Service", (b) => service(b.service)],
  ["Endpoint", (b) => endpoint(b.endpoint)],
  ["State", (b) => b.state, (b) => stateStyle[b.state] || ""],
  ["Cause", (b) => (b.state === "closed" || b.state === "off" ? null : b.cause), () => "wide"],
  ["Failures", (b) => b.consecutive_failures, null, number],
  ["Next probe in", (b) => nextProbe(b, at), null, number],
  ["Ejected", (b) => b.ejected_percent.toFixed(0) + " %", null, number],
];

const eventColumns = [
  ["Time", (e) => new Date(e.time).toLocaleTimeString()],
  ["Client", (e) => client(e.client)],
  ["Service", (e) => service(e.service)],
  ["Endpoint", (e) => endpoint(e.endpoint)],
  ["Change", (e) => (e.refused ? "stays " + e.from : e.from + " → " + e.to), (e) => stateStyle[e.to] || ""],
  ["Cause", (e) => e.detail || e.cause, () => "wide"],
];

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function look() {
  const [services, deployments, breakers, events] = await Promise.all([
    ask("/api/v1/stat?resource=svc&all_namespaces=true").then((a) => a.json()),
    ask("/api/v1/stat?resource=deploy&all_namespaces=true").then((a) => a.json()),
    ask("/api/v1/breakers").then((a) => a.json()),
    ask("/api/v1/events").then((a) => a.text()),
  ]);
  show("services", statColumns, services.rows, "There are no services.");
  show("deployments", statColumns, deployments.rows, "There are no deployments.");
  show("breakers", breakerColumns(Date.parse(breakers.at)), breakers.breakers, "No proxy has called a service yet.");
  const lines = events.trim().split("\n").map((l) => JSON.parse(l).event).filter(Boolean);
  show("events", eventColumns, lines.slice(-keep).reverse(), "No breaker has moved.");
}

async function run() {
  const status = document.getElementById("status");
  for (;;) {
    try {
      if (!document.hidden) {
        await look();
        status.textContent = "Live, " + new Date().toLocaleTimeString();
        status.className = "";
      }
    } catch (error) {
      status.textContent = "The control plane does not answer: " + error.message;
      status.className = "bad";
    }
    await new Promise((done) => setTimeout(done, period));
  }
}

run();
