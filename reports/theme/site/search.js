"use strict";
(() => {
  const form = document.querySelector(".search"), box = form.querySelector("#q");
  const filters = ["state", "title", "month"].map(name => form.querySelector("#" + name));
  const said = form.querySelector("#said"), hits = form.querySelector("#hits");
  const SHOWN = 50;
  let reports = null, loading = false;
  const plain = text => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

  // Called by the file that is loaded: names once, and of each notebook and tenant pairs of time and state.
  window.capacityReports = data => {
    reports = [];
    for (const [title, tenant, runs] of data.pairs) {
      const [notebook, shown] = data.titles[title], [folder, label, key] = data.tenants[tenant];
      const words = plain([shown, notebook, label, key].join(" "));
      for (let i = 0; i < runs.length; i += 2) {
        const time = data.times[runs[i]], state = data.states[runs[i + 1]];
        reports.push({ title: shown, label, time, state, href: [notebook, folder, time, "index.html"].join("/"), words: words + " " + time.slice(0, 10) + " " + state });
      }
    }
    reports.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
    find();
  };

  const load = () => {
    if (loading) return;
    loading = true;
    const file = document.createElement("script");
    file.src = form.dataset.source;
    file.onerror = () => { loading = false; said.textContent = "The list of reports could not be loaded. Try again, or go by tenant or by month below."; };
    document.head.append(file);
  };

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  const find = () => {
    const asked = plain(box.value).split(/\s+/).filter(Boolean), [state, title, month] = filters.map(f => f.value);
    hits.replaceChildren();
    said.textContent = "";
    if (!asked.length && !state && !title && !month) return;
    if (!reports) { said.textContent = "Loading the list of reports …"; load(); return; }
    const found = reports.filter(r =>
      (!state || r.state === state) && (!title || r.title === title) && r.time.startsWith(month) && asked.every(word => r.words.includes(word)));
    said.textContent = found.length === 0 ? "No report has all of that." :
      found.length === 1 ? "1 report." :
      found.length.toLocaleString("en") + " reports, the newest first" + (found.length > SHOWN ? "; the first " + SHOWN + " are shown." : ".");
    for (const r of found.slice(0, SHOWN)) {
      const line = element("li", ""), link = element("a", r.title + ", " + r.label);
      link.href = r.href;
      line.append(link, element("span", r.time.slice(0, 10) + " " + r.time.slice(11, 13) + ":" + r.time.slice(13, 15), "when quiet"), element("span", r.state, "mark " + r.state.replaceAll(" ", "-")));
      hits.append(line);
    }
  };

  let waiting = 0;
  box.addEventListener("focus", load, { once: true });
  box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(find, 80); });
  box.addEventListener("keydown", event => { if (event.key === "Escape") { box.value = ""; find(); } });
  for (const filter of filters) filter.addEventListener("change", find);
  form.addEventListener("submit", event => { event.preventDefault(); find(); });
  form.hidden = false;
})();
