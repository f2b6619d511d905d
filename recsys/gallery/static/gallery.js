// What pages do beyond links and forms: the type-ahead, links that change a page in place, and
// pictures that do not come. Without this file everything works, by whole pages.
"use strict";

// --- Type-ahead: a combobox after the ARIA Authoring Practices -----------------------------

function combobox(input) {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  let options = [], active = -1, waiting = 0, request = null, asked = "";

  function close() {
    clearTimeout(waiting);
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(place) {
    if (options[active]) options[active].setAttribute("aria-selected", "false");
    active = place;
    const option = options[active];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function show(groups) {
    const titles = { item: "Items", tag: "Tags", user: "Users" };
    options = [];
    list.replaceChildren();
    for (const group of groups) {
      const box = document.createElement("div"), title = document.createElement("span");
      title.textContent = titles[group.kind];
      title.id = `${list.id}-${group.kind}`;
      box.setAttribute("role", "group");
      box.setAttribute("aria-labelledby", title.id);
      box.append(title);
      for (const row of group.rows) box.append(optionOf(row, group.kind));
      list.append(box);
    }
    if (!options.length) {
      const none = document.createElement("div");
      none.className = "none";
      none.setAttribute("role", "option");
      none.setAttribute("aria-disabled", "true");
      none.textContent = "No item, tag or user has that in its name";
      list.append(none);
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
  }

  function optionOf(row, kind) {
    const option = document.createElement("div"), name = document.createElement("bdi");
    const hint = document.createElement("small");
    option.id = `${list.id}-${options.length}`;
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    name.textContent = row.name;
    hint.textContent = row.hint;
    option.append(name, hint);
    option.dataset.href = target(row, kind);
    option.addEventListener("mousedown", (event) => event.preventDefault());
    option.addEventListener("click", () => go(option.dataset.href));
    options.push(option);
    return option;
  }

  function target(row, kind) {
    // On some pages what is chosen is added to the address, under a name or that of its kind.
    const pick = input.dataset.pick;
    if (!pick) return row.href;
    return `${pick}${pick.includes("?") ? "&" : "?"}${input.dataset.as || kind}=${encodeURIComponent(row.id)}`;
  }

  function go(href) {
    close();
    if (input.dataset.as) {
      input.value = "";
      swap(href, true, input.id);
    } else location.assign(href);
  }

  async function ask() {
    const query = input.value.trim();
    asked = query;
    if (!query) return close();
    if (request) request.abort();
    request = new AbortController();
    try {
      const answer = await fetch(input.dataset.find + encodeURIComponent(query), { signal: request.signal });
      if (answer.ok && asked === query && document.activeElement === input) show((await answer.json()).groups);
    } catch (fault) {
      if (fault.name !== "AbortError") close();
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(ask, 70);
  });
  input.addEventListener("blur", () => setTimeout(close, 100));
  input.addEventListener("keydown", (event) => {
    const open = !list.hidden && options.length;
    if (event.key === "ArrowDown" && !open) ask();
    else if (event.key === "ArrowDown") mark((active + 1) % options.length);
    else if (event.key === "ArrowUp" && open) mark((active + options.length - (active < 0 ? 0 : 1)) % options.length);
    else if (event.key === "Escape" && !list.hidden) close();
    else if (event.key === "Enter" && open && active >= 0) go(options[active].dataset.href);
    else return;
    event.preventDefault();
  });
}

// --- Links that change the page in place ---------------------------------------------------

let turn = 0;

async function swap(href, push, focus) {
  const mine = ++turn, main = document.getElementById("main");
  main.classList.add("waiting");
  try {
    const answer = await fetch(href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (mine !== turn) return;
    if (!fresh) return location.assign(href);
    main.replaceChildren(...fresh.childNodes);
    document.title = page.title;
    if (push) history.pushState({ swapped: true }, "", href);
    enliven(main);
    const heading = main.querySelector("h1");
    document.getElementById("said").textContent = heading ? heading.textContent : "";
    (document.getElementById(focus) || main).focus({ preventScroll: true });
    const change = main.querySelector(".change");
    if (change) change.scrollIntoView({ block: "nearest" });
  } catch {
    location.assign(href);
  } finally {
    main.classList.remove("waiting");
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  swap(link.getAttribute("href"), true, "");
});
addEventListener("popstate", () => {
  if (!document.querySelector("[data-map]")) swap(location.href, false, "");
});

// --- Pictures that do not come leave the tile --------------------------------------------------

document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.remove();
}, true);

function enliven(part) {
  for (const input of part.querySelectorAll("input[data-find]")) combobox(input);
  for (const image of part.querySelectorAll("img")) if (image.complete && !image.naturalWidth) image.remove();
}

enliven(document);
