"use strict";
const INTERVAL = 10000;
function show(id, text) {
  document.getElementById(id).textContent = text || "–";
}
function duration(seconds) {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  return (days ? days + " d " : "") + (days || hours ? hours + " h " : "") + minutes + " min";
}
function row(lease) {
  const line = document.createElement("tr");
  for (const text of [lease.name || "(no name)", lease.address, lease.hardware]) {
    line.insertCell().textContent = text;
  }
  return line;
}
function summarise(text, state) {
  const summary = document.getElementById("summary");
  summary.textContent = text;
  summary.className = state;
}
function render(status) {
  const up = status.wan.state === "up";
  summarise(up ? "Connected to the Internet" : "No connection to the Internet", up ? "up" : "down");
  show("address", status.wan.address);
  show("next-hop", status.wan.gateway);
  show("failing", status.failing.split(" ").filter(Boolean).join(", ") || "nothing");
  show("release", status.release);
  show("uptime", duration(status.uptime));
  document.getElementById("leases").replaceChildren(...status.leases.map(row));
}
async function refresh() {
  try {
    const answer = await fetch("/cgi-bin/status", { cache: "no-store" });
    if (!answer.ok) {
      throw new Error("status " + answer.status);
    }
    render(await answer.json());
  } catch (error) {
    summarise("The gateway does not answer (" + error.message + ")", "down");
  }
  setTimeout(refresh, INTERVAL);
}
refresh();
