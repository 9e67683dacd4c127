-- How did the ratings of each category change over the years? Years with fewer than five reviews say too little.
SELECT
    product_category,
    year(review_date) AS review_year,
    count(*) AS reviews,
    avg(star_rating) AS average_stars
FROM reviews
WHERE review_date IS NOT NULL
GROUP BY product_category, year(review_date)
HAVING count(*) >= 5
ORDER BY product_category, review_year
