// What the page does beside drawing: charts as wide as their place, tables in the order that is clicked.

// A chart of a single plot fits its place, however narrow; rows of plots scroll instead.
window.fitted = (spec, place) => {
  const single = typeof spec.width === "number" && (spec.layer || spec.mark);
  if (!single || spec.width <= place.clientWidth) return spec;
  place.classList.add("fitted");
  const legend = {...spec.config.legend, columns: place.clientWidth < 500 ? 2 : undefined, labelLimit: 140};
  return {...spec, width: "container", autosize: {type: "fit-x", contains: "padding"}, config: {...spec.config, legend}};
};

// Vega gives a mark without items the role of a picture and no name: a screen reader has nothing to say of it.
window.named = (place) => {
  for (const each of place.querySelectorAll("g[role=graphics-symbol]:empty")) each.ariaHidden = "true";
};

// The first number of a cell ("91.23 [89.91, 92.07]", "−0.5", "3 of 5", "1,024"), NaN where it has none.
const value = (text) => parseFloat(text.replace("−", "-").replace(/,(?=\d{3})/g, ""));

const compare = (a, b) => {
  const [x, y] = [value(a), value(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b);
  return x - y;
};

const sort = (table, column, button) => {
  const up = button.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  button.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (up ? 1 : -1) * compare(a.cells[column].textContent, b.cells[column].textContent));
  table.classList.add("sorted"); // every row says its arm in full ink then
  table.tBodies[0].append(...rows);
};

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.tabIndex = 0;
    head.title = "sort";
    head.addEventListener("click", () => sort(table, column, head));
    head.addEventListener("keydown", (event) => event.key === "Enter" && sort(table, column, head));
  });
}
