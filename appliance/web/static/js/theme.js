// Dark, light, or as the system says; remembered in the browser. No module: it runs before anything is painted.

(() => {
  const THEMES = ["system", "light", "dark"];

  function chosen() {
    try {
      const kept = localStorage.getItem("theme");
      return THEMES.includes(kept) ? kept : "system";
    } catch {
      return "system";
    }
  }

  function apply(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  apply(chosen());

  addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = chosen();
    select.addEventListener("change", () => {
      try {
        localStorage.setItem("theme", select.value);
      } catch {
        // A browser that keeps nothing: the choice holds for this page.
      }
      apply(select.value);
      dispatchEvent(new Event("theme"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
  });
})();
