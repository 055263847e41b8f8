"""The script of an HTML report: filters of the matrix, and what links and printing have to unfold. ASCII alone."""

SCRIPT = """
"use strict";
(function () {
  function all(selector, root) { return Array.prototype.slice.call((root || document).querySelectorAll(selector)); }
  function matrix(section) {
    var form = section.querySelector("form"), name = form.elements[0], differs = form.elements[1];
    var rows = all("tr[data-name]", section), told = form.querySelector("output");
    function filter() {
      var wanted = name.value.trim().toLowerCase(), shown = 0;
      rows.forEach(function (row) {
        var fits = row.getAttribute("data-name").indexOf(wanted) >= 0;
        row.hidden = !fits || (differs.checked && !row.hasAttribute("data-differs"));
        if (!row.hidden) { shown += 1; }
      });
      all("tbody", section).forEach(function (body) {
        body.hidden = !body.querySelector("tr[data-name]:not([hidden])");
      });
      told.textContent = shown + " of " + rows.length + " headers";
    }
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.addEventListener("reset", function () { setTimeout(filter, 0); });
    section.addEventListener("wsprobe:all", function () { name.value = ""; differs.checked = false; filter(); });
    filter();
  }
  function reveal() {
    var id = location.hash.slice(1), target = id && document.getElementById(id), part = target;
    if (!target) { return; }
    for (; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") { part.open = true; }
      if (part.hidden) { part.closest("section").dispatchEvent(new Event("wsprobe:all")); }
    }
    target.scrollIntoView();
  }
  var folded = [];
  window.addEventListener("beforeprint", function () {
    folded = all("details:not([open])");
    folded.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () { folded.forEach(function (part) { part.open = false; }); });
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", function (event) {
    var link = event.target.closest("a");
    if (link && link.hash && link.hash === location.hash) { setTimeout(reveal, 0); }
  });
  all("section.headers").forEach(matrix);
  reveal();
})();
"""
