// A card opens beside its pin; without this it opens in the middle.

const GAP = 8;

document.addEventListener("toggle", (event) => {
  const card = event.target;
  if (event.newState !== "open" || !card.matches(".card")) return;
  const pin = document.querySelector(`[popovertarget="${card.id}"]`);
  if (!pin) return;
  const at = pin.getBoundingClientRect();
  const { width, height } = card.getBoundingClientRect();
  const left = Math.min(Math.max(GAP, at.left - width / 2), innerWidth - width - GAP);
  const above = at.top - height - GAP;
  card.style.left = `${left}px`;
  card.style.top = `${above > GAP ? above : at.bottom + GAP}px`;
}, true);
