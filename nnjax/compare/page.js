"use strict";

// A click on a column heading sorts its table; a second click reverses the order.
const value = (row, column) => row.cells[column].dataset.order ?? row.cells[column].textContent.trim();

function compare(a, b) {
  const [x, y] = [a, b].map(text => Number(text.replace("Infinity", "1e999").replace(/^-?inf$/, "1e999")));
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y || 0;
}

function sort(head) {
  const table = head.closest("table");
  const descending = head.getAttribute("aria-sort") === "ascending";
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(value(a, head.cellIndex), value(b, head.cellIndex)) * (descending ? -1 : 1));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
}

for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(head));
  head.append(button);
}

// A click on a number shows the query of its rows. The title attribute shows it only if a mouse points at it.
const panel = document.getElementById("query");

document.addEventListener("click", event => {
  const link = event.target.closest("a.rows");
  panel.hidden = !link && !panel.contains(event.target);
  if (!link) return;
  event.preventDefault();
  const code = document.createElement("code");
  const file = link.getAttribute("href");
  code.textContent = `pandas.read_parquet("${file}").query(${JSON.stringify(link.title)})`;
  const open = document.createElement("a");
  open.href = file;
  open.textContent = file;
  panel.replaceChildren("The rows of this number: ", code, " Open ", open);
});

addEventListener("keydown", event => {
  if (event.key === "Escape") panel.hidden = true;
});

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
