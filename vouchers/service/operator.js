"use strict";
// Everything that is shown is set as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const KEPT = "spkg-token";
  let token = sessionStorage.getItem(KEPT) || "";

  const say = (text, bad = false) => {
    const status = byId("status");
    status.textContent = text;
    status.className = bad ? "bad" : "";
  };

  const make = (name, text = "", className = "") => {
    const element = document.createElement(name);
    element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  const get = async (path, query = {}) => {
    const search = new URLSearchParams(query).toString();
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(path + (search ? `?${search}` : ""), { headers, credentials: "same-origin", cache: "no-store" });
    const found = await answer.json();
    if (!answer.ok) {
      const error = new Error(answer.status === 401 ? "Give a token with the scope read." : `${found.title}: ${found.detail}`);
      error.status = answer.status;
      throw error;
    }
    return found;
  };

  // A table with a head; a column is [title, cell of a row, class].
  const table = (columns, rows, caption) => {
    const scroll = make("div", "", "scroll");
    const shown = make("table");
    if (caption) shown.setAttribute("aria-label", caption);
    const head = make("tr");
    for (const [title, , className] of columns) {
      const cell = make("th", title, className || "");
      cell.scope = "col";
      head.append(cell);
    }
    shown.append(make("thead"), make("tbody"));
    shown.tHead.append(head);
    for (const row of rows) {
      const line = make("tr");
      for (const [, cell, className] of columns) {
        const value = cell(row);
        const data = make("td", "", className || "");
        if (value instanceof Node) data.append(value);
        else data.textContent = value ?? "";
        line.append(data);
      }
      shown.tBodies[0].append(line);
    }
    scroll.append(shown);
    return scroll;
  };

  const MODES = { Disable: "off", EnableWithExpiration: "until its end", EnableWithoutExpiration: "for good" };
  const endOf = (entry) => {
    if (entry.mode === "EnableWithoutExpiration") return "never";
    if (!entry.end) return entry.mode === "Disable" ? "" : "not known";
    return entry.end + (entry.end_estimated ? " or later" : "");
  };
  const stateOf = (entry) => {
    const ended = entry.state === "issued" && entry.end && !entry.end_estimated && new Date(entry.end) <= new Date();
    const word = entry.revoked_by ? `revoked by ${entry.revoked_by}` : entry.renewed_by ? `renewed by ${entry.renewed_by}` : ended ? "ended" : entry.state;
    return make("span", word, word === "issued" ? "good" : word === "void" || entry.revoked_by ? "bad" : "quiet");
  };
  const ENTRY = [
    ["Option", (one) => one.option],
    ["State", stateOf],
    ["Enabled", (one) => MODES[one.mode] ?? ""],
    ["Begins", (one) => one.start ?? (one.mode === "Disable" ? "" : "when applied")],
    ["Ends", endOf],
    ["Serial", (one) => String(one.serial), "number"],
    ["Batch", (one) => one.batch ?? ""],
    ["Issued", (one) => one.issued_at ?? ""],
  ];
  const nameOf = (one) => `${one.oui} / ${one.product_class} / ${one.serial_number}`;

  const showing = (place, work) => async (event) => {
    event?.preventDefault();
    const found = byId(place);
    say("Loading…");
    try {
      const parts = await work();
      found.replaceChildren(...parts);
      say("");
    } catch (error) {
      found.replaceChildren();
      if (error.status === 404) {
        found.append(make("p", "Nothing found.", "quiet"));
        say("");
      } else {
        say(error.message, true);
        if (error.status === 401) byId("token").focus();
      }
    }
  };

  const more = (label, work) => {
    const button = make("button", label);
    button.type = "button";
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        button.replaceWith(...(await work()));
        say("");
      } catch (error) {
        button.disabled = false;
        say(error.message, true);
      }
    });
    return button;
  };

  const search = async () => {
    const text = byId("device").value.trim();
    if (!text) throw new Error("Give a serial number, or OUI/CLASS/SERIAL.");
    const parts = text.split("/");
    const found = parts.length === 3
      ? await get(`/v1/devices/${parts.map(encodeURIComponent).join("/")}`)
      : await get("/v1/vouchers", { serial_number: text, limit: 1000 });
    if (!found.entries.length) return [make("p", "Nothing found.", "quiet")];
    const devices = Map.groupBy ? Map.groupBy(found.entries, nameOf) : new Map();
    if (!Map.groupBy) for (const one of found.entries) devices.set(nameOf(one), [...(devices.get(nameOf(one)) ?? []), one]);
    const shown = [];
    for (const [name, entries] of devices) shown.push(make("h3", name), table(ENTRY, entries, name));
    if (found.after) shown.push(make("p", "There are more; give OUI/CLASS/SERIAL.", "quiet"));
    return shown;
  };

  const renewals = async () => {
    const found = await get("/v1/renewals", { within: byId("within").value, limit: 1000 });
    if (!found.entries.length) return [make("p", "None.", "quiet")];
    const shown = [table([["Device", nameOf], ...ENTRY.slice(0, 1), ...ENTRY.slice(4, 7)], found.entries, "Due renewals")];
    if (found.more) shown.push(make("p", "There are more; 'spkg voucher renew' lists all.", "quiet"));
    return shown;
  };

  const batches = async (after) => {
    const found = await get("/v1/batches", after ? { after } : {});
    if (!found.batches.length) return [make("p", after ? "No more." : "None.", "quiet")];
    const count = (state) => [state[0].toUpperCase() + state.slice(1), (one) => String(one.by_state[state] ?? 0), "number"];
    const shown = [table([["Batch", (one) => one.batch], count("issued"), count("reserved"), count("void")], found.batches, "Batches")];
    if (found.after) shown.push(more("More", () => batches(found.after)));
    return shown;
  };

  const journal = async (before) => {
    const found = await get("/v1/journal", before ? { before } : {});
    if (!found.entries.length) return [make("p", before ? "No more." : "None.", "quiet")];
    const columns = [
      ["Number", (one) => String(one.number), "number"],
      ["Time", (one) => one.at],
      ["Who", (one) => one.actor || "-"],
      ["What", (one) => one.action],
      ["Serial numbers", (one) => (one.serials.length > 60 ? `${one.serials.slice(0, 60)}…` : one.serials)],
      ["Batch", (one) => one.batch ?? ""],
      ["Why", (one) => one.reason],
    ];
    const last = found.entries.at(-1).number;
    const shown = [table(columns, found.entries, "Journal")];
    if (last > 1) shown.push(more("Older", () => journal(last)));
    return shown;
  };

  byId("access").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    sessionStorage.setItem(KEPT, token);
    say(token ? "The token is used until this tab is closed." : "No token.");
    byId("device").focus();
  });
  byId("forget").addEventListener("click", () => {
    token = "";
    sessionStorage.removeItem(KEPT);
    for (const place of ["device", "renewals", "batches", "journal"]) byId(`${place}-found`).replaceChildren();
    say("The token is forgotten.");
  });
  byId("search").addEventListener("submit", showing("device-found", search));
  byId("renewals").addEventListener("submit", showing("renewals-found", renewals));
  byId("batches").addEventListener("click", showing("batches-found", () => batches()));
  byId("journal").addEventListener("click", showing("journal-found", () => journal()));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName)) return;
    event.preventDefault();
    byId("device").focus();
  });
})();
