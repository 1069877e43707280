"use strict";
// One player sounds at a time; its picture shows where it is, and a click in the picture goes there.
for (const player of document.querySelectorAll(".player")) {
  const audio = player.querySelector("audio");
  if (!audio) continue;
  const picture = player.querySelector(".picture");
  const head = player.querySelector(".playhead");
  const follow = () => {
    if (audio.duration > 0) {
      head.hidden = false;
      head.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
    }
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    follow();
  });
  audio.addEventListener("seeked", follow);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    if (audio.duration > 0) audio.currentTime = (audio.duration * (event.clientX - box.left)) / box.width;
    audio.play();
  });
  picture.classList.add("clickable");
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
