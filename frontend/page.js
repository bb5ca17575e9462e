// What must run in the browser: timers, clipboard, downloads, theme, and the visitor's token. The rest is in Python.
(() => {
  const began = new Map(); // engine -> when its timer starts

  const tick = () => {
    const running = new Set();
    document.querySelectorAll("[data-clock]").forEach((clock) => {
      const engine = clock.dataset.clock;
      running.add(engine);
      if (!began.has(engine)) began.set(engine, performance.now() + 1000 * clock.dataset.calmS);
      clock.textContent = Math.max(0, (performance.now() - began.get(engine)) / 1000).toFixed(1) + " s";
    });
    for (const engine of began.keys()) if (!running.has(engine)) began.delete(engine);
  };
  setInterval(tick, 200);

  // Gradio gives its upload buttons an aria-label that differs from their text
  const relabel = () => {
    document.querySelectorAll("button.upload-container[aria-label]").forEach((button) => {
      button.setAttribute("aria-label", button.innerText.replace(/\s+/g, " ").trim() || "Upload");
    });
  };
  setInterval(relabel, 1000);

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  const copySources = {
    code: (button) => button.closest("figure").querySelector("code").textContent,
    answer: (button) => button.closest(".pane").querySelector(".answer").innerText,
    words: (button) => button.closest(".asked").querySelector(".words").innerText,
    reply: (button) => button.closest(".reply").querySelector(".words").innerText,
    link: (button) => location.origin + location.pathname + button.dataset.query,
  };

  const save = (name, url) => Object.assign(document.createElement("a"), { download: name, href: url }).click();

  const savePng = (svg) => {
    const image = new Image();
    image.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 2 * image.width, height: 2 * image.height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      save("race.png", canvas.toDataURL("image/png"));
    };
    image.src = svg;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches("#ask, #again, #tours button")) document.getElementById("panes").scrollIntoView({ block: "nearest" });
    if (button.dataset.copy) {
      await copy(copySources[button.dataset.copy](button));
      button.dataset.label ??= button.textContent;
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = button.dataset.label), 1200);
    }
    if (button.dataset.svg) save("race.svg", button.dataset.svg);
    if (button.dataset.png) savePng(button.dataset.png);
    if (button.dataset.theme !== undefined) {
      const dark = document.body.classList.toggle("dark");
      localStorage.setItem("arena-theme", dark ? "dark" : "light");
    }
  });

  // In the capture phase, before an open list or dialog closes: Escape then only closes that
  const open = () => document.querySelector("[role=listbox], [role=dialog], dialog[open]");
  document.addEventListener(
    "keydown",
    (event) => {
      const press = (id) => document.getElementById(id)?.click();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press("ask");
      if (event.key === "Escape" && !open()) press("stop");
    },
    true,
  );

  window.arena = {
    visitor() {
      let token = localStorage.getItem("arena-visitor");
      if (!token) {
        token = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        localStorage.setItem("arena-visitor", token);
      }
      const theme = localStorage.getItem("arena-theme");
      if (theme) document.body.classList.toggle("dark", theme === "dark");
      return token;
    },
    save(name, text, mime) {
      if (text) save(name, URL.createObjectURL(new Blob([text], { type: mime })));
    },
  };
})();
