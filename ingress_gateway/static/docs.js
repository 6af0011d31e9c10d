"use strict";

// The commands name this gateway as the reader reached it.
if (location.protocol.startsWith("http")) {
  for (const origin of document.querySelectorAll(".origin")) origin.textContent = location.origin;
}

for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const filter = document.getElementById("filter");
const articles = [...document.querySelectorAll("article")];

filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const article of articles) {
    const fits = words.every((word) => article.dataset.words.includes(word));
    article.hidden = !fits;
    found += fits;
    document.querySelector(`nav [data-for="${article.id}"]`).hidden = !fits;
  }
  for (const section of document.querySelectorAll("nav section")) {
    const items = section.querySelectorAll("[data-for]");
    section.hidden = words.length > 0 && [...items].every((item) => item.hidden);
  }
  for (const group of document.querySelectorAll(".group")) {
    group.hidden = [...group.querySelectorAll("article")].every((article) => article.hidden);
  }
  for (const id of ["start", "errors"]) document.getElementById(id).hidden = words.length > 0;
  document.getElementById("nothing").hidden = found > 0;
});

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== filter) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && document.activeElement === filter) {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
  }
});

// The call being read is marked in the list of calls.
const watched = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    document.querySelector("nav a[aria-current]")?.removeAttribute("aria-current");
    const link = document.querySelector(`nav a[href="#${entry.target.id}"]`);
    link?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -75% 0px" });
for (const target of document.querySelectorAll("article, #start, #errors")) watched.observe(target);
