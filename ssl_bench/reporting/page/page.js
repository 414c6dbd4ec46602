"use strict";
// Sorting and filtering. The page says everything without this script; it only makes things easier to find.

// What a row is sorted by in one column: the attribute with full precision, or else the text. Empty is nothing.
function sortKey(row, column, numeric) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? (numeric ? "" : cell.textContent.trim());
  return numeric ? (text === "" ? NaN : Number(text)) : text;
}

// Sort the rows of each body by themselves: blocks may not be compared. What has no number stays last.
function sortTable(table, column, direction, numeric) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("block"));
    const order = new Map(rows.map((row) => [row, direction === "none" ? 0 : sortKey(row, column, numeric)]));
    const sign = direction === "descending" ? -1 : 1;
    rows.sort((one, other) => {
      if (direction === "none") return one.dataset.place - other.dataset.place;
      const a = order.get(one), b = order.get(other);
      const lacking = (value) => value === "" || Number.isNaN(value);
      if (lacking(a) || lacking(b)) return lacking(a) - lacking(b) || one.dataset.place - other.dataset.place;
      const difference = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return sign * difference || one.dataset.place - other.dataset.place;
    });
    body.append(...rows);
  }
}

// Numbers are first sorted from the largest; a third choice gives the order in which the page was written.
function makeSortable(table) {
  for (const body of table.tBodies) [...body.rows].forEach((row, place) => { row.dataset.place = place; });
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const numeric = head.classList.contains("number");
    const turns = numeric ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const turn = turns[(turns.indexOf(head.getAttribute("aria-sort") ?? "none") + 1) % turns.length];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (turn !== "none") head.setAttribute("aria-sort", turn);
      sortTable(table, column, turn, numeric);
    });
  });
}

// What a row is chosen by: the words of the runs that it leads to. A row without runs was published or is empty.
function wordsOf(row, key) {
  const ids = row.dataset.tells ? [row.dataset.tells]
    : [...row.querySelectorAll('a[href^="#run-"]')].map((link) => decodeURIComponent(link.hash.slice(1)));
  const words = ids.map((id) => document.getElementById(id)?.dataset[key]).filter(Boolean);
  if (ids.length === 0 && key === "method") words.push(row.cells[0].firstChild.textContent.trim());
  if (ids.length === 0 && key === "data") words.push("published");
  return new Set(words);
}

function fillList(list, values) {
  const all = new Option("all", "");
  list.replaceChildren(all, ...[...values].sort((a, b) => a.localeCompare(b, "en")).map((word) => new Option(word, word)));
  list.closest("label").hidden = values.size < 2;
}

// Hide rows that lack a chosen word; a run's own section goes with its row, and a block with all of its rows.
function makeFilter(form) {
  const table = document.getElementById(form.dataset.filters).querySelector("table");
  const lists = [...form.querySelectorAll("select")];
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.classList.contains("block"));
  const known = new Map(rows.map((row) => {
    const block = row.parentElement.querySelector("tr.block");
    const text = `${row.textContent} ${block ? block.textContent : ""}`.toLowerCase();
    return [row, { text, words: Object.fromEntries(lists.map((list) => [list.name, wordsOf(row, list.name)])) }];
  }));
  for (const list of lists) {
    fillList(list, new Set([...known.values()].flatMap(({ words }) => [...words[list.name]])));
  }
  const apply = () => {
    const typed = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, { text, words }] of known) {
      const fits = typed.every((word) => text.includes(word))
        && lists.every((list) => !list.value || words[list.name].has(list.value));
      if (row.hidden === fits) {
        row.hidden = !fits;
        if (row.dataset.tells) document.getElementById(row.dataset.tells).hidden = !fits;
      }
      shown += fits;
    }
    for (const block of table.querySelectorAll("tr.block")) {
      block.hidden = ![...block.parentElement.rows].some((row) => row !== block && !row.hidden);
    }
    form.querySelector("output").value = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.hidden = false;
  apply();
}

// A link to a run that the filter hides has to show it.
function showTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.hidden) target.hidden = false;
  if (target) target.scrollIntoView();
}

document.querySelectorAll(".sortable table").forEach(makeSortable);
document.querySelectorAll("form.filter").forEach(makeFilter);
addEventListener("hashchange", showTarget);
if (location.hash) showTarget();
