// What every page does: it is kept current, can be paused, and is used by keyboard alone.
import { keys } from "./keys.js";
import { live } from "./live.js";

const actions = {
  theme() {
    const root = document.documentElement;
    const isDark = root.dataset.theme === "dark"
      || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  },
  menu(button) {
    const side = document.querySelector(".side");
    const isOpen = side.dataset.open !== "true";
    side.dataset.open = isOpen;
    button.setAttribute("aria-expanded", isOpen);
  },
  pause() { live.toggle(); },
  copy(button) { navigator.clipboard?.writeText(button.dataset.text); },
  dialog(button) { document.getElementById(button.dataset.dialog)?.showModal(); },
  close(button) { button.closest("dialog").close(); },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) actions[button.dataset.action]?.(button);
});

// A second click while the first is on its way acts once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent === "true") { event.preventDefault(); return; }
  form.dataset.sent = "true";
});

// Back from another page, forms can be sent again.
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

live.start();
keys.start();
document.body.dataset.opsReady = "true";
