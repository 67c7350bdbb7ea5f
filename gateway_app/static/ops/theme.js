// Before the first paint, so that nothing flashes. The admin keeps its choice under the same key.
document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
